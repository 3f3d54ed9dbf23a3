//! Data plane signaling 1.0: the messages between a control plane and its data planes, in plain JSON.
//!
//! The address of data is that of the dataspace protocol ([`crate::dsp::DataAddress`]).

pub mod dataflow;
pub mod registration;

pub use crate::dsp::{DataAddress, EndpointProperty};
pub use dataflow::{
    DataFlowBaseMessage, DataFlowPrepareMessage, DataFlowResumeMessage, DataFlowStartMessage, DataFlowStartedNotificationMessage,
    DataFlowState, DataFlowStatusMessage, DataFlowStatusResponseMessage, DataFlowSuspendMessage, DataFlowTerminateMessage,
};
pub use registration::{AuthorizationEntry, DataPlaneRegistrationMessage};
