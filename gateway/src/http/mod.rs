//! HTTP without any operation: requests as handlers see them, routes, errors.

pub mod body;
pub mod error;
pub mod owner;
pub mod principal;
pub mod render;
pub mod request;
pub mod route;
pub mod router;
pub mod wait;

pub use body::Body;
pub use error::{ApiError, ErrorKind, Violation};
pub use principal::{Principal, Role};
pub use request::{Reply, Request};
pub use route::{Access, Api, Listener, Provisioner, Route, Verb};
pub use router::{Match, Miss, Params, Router, TableError};
pub use wait::{Progress, Wait, read_when};
