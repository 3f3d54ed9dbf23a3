//! Sets up logs and the exporter of traces, once per process.

use super::json_layer::JsonLayer;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    runtime::Tokio,
    trace::{SdkTracer, SdkTracerProvider, span_processor_with_async_runtime::BatchSpanProcessor},
};
use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::mpsc::{self, Receiver, Sender},
    time::Duration,
};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::Targets, fmt, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt,
};
use url::Url;

/// Always in front of the configured filter: libraries that speak too much. ractor opens two spans per actor at info.
const QUIET: &str =
    "ractor=warn,fjall=warn,lsm_tree=warn,hyper=warn,h2=warn,reqwest=warn,rustls=warn,opentelemetry=warn,opentelemetry_sdk=warn";

/// Lines that wait for whoever writes them: some 30 MB at most. Beyond that those who log wait, and no line is left out.
const WAITING: usize = 65_536;
/// How long the end of the process waits for whoever writes them.
const LAST: Duration = Duration::from_secs(10);

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Human,
}

/// What to log and where traces go.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Format.
    pub format: LogFormat,
    /// Filter in the syntax of `RUST_LOG`; `info` without one.
    pub filter: Option<String>,
    /// Base URL of an OTLP collector over HTTP, for example `http://localhost:4318`; nothing is exported without one.
    pub otlp: Option<Url>,
    /// File that lines are appended to instead of standard error.
    pub file: Option<PathBuf>,
}

/// Why logs cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is wrong.
    #[error("the log filter is not valid: {0}")]
    Filter(String),
    /// The exporter cannot be made.
    #[error("the OTLP exporter cannot be set up: {0}")]
    Exporter(String),
    /// The file cannot be written.
    #[error("the log file {}: {reason}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// Another subscriber was there first.
    #[error("logs are already set up in this process")]
    Again,
}

/// Sends and writes what is left when the process ends.
#[must_use]
pub struct LogGuard {
    spans: Option<SdkTracerProvider>,
    lines: Lines,
}

/// Lines that wait, and the thread that writes them.
struct Lines {
    thread: WorkerGuard,
    /// Whoever writes has the other end.
    written: Receiver<()>,
}

/// What the thread writes to, until it has written everything.
struct Held<W>(W, #[expect(dead_code, reason = "it is gone when nothing is written any more")] Sender<()>);

impl<W: Write> Write for Held<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Lines {
    /// Writes what waits, as far as that is done in time.
    fn end(self) {
        drop(self.thread);
        // Nothing ever comes: what is waited for is that the other end is gone.
        let _ = self.written.recv_timeout(LAST);
    }
}

impl LogGuard {
    /// Exports the spans and writes the lines that wait, for ten seconds at most, and stops.
    pub async fn flush(self) {
        if let Some(provider) = self.spans {
            export_all(provider).await;
        }
        let _ = tokio::task::spawn_blocking(move || self.lines.end()).await;
    }
}

async fn export_all(provider: SdkTracerProvider) {
    // The SDK waits for its own task: never on a thread of the runtime.
    let stopped = tokio::task::spawn_blocking(move || provider.shutdown()).await;
    if let Ok(Err(error)) = stopped {
        tracing::warn!(category = "app", %error, "the last spans could not be exported");
    }
}

/// Logs go to standard error, or to a file, by a thread of their own: a disk that stands still, or a reader that is slow, holds up no request. Must be called within a tokio runtime, since the exporter runs there.
///
/// # Errors
/// [`LogError`].
pub fn init(options: &LogOptions) -> Result<LogGuard, LogError> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", options.filter.as_deref().unwrap_or("info")));
    let filter = filter.map_err(|e| LogError::Filter(e.to_string()))?;
    let human = match options.format {
        LogFormat::Auto => options.file.is_none() && io::stderr().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Human => true,
    };
    let (writer, guard) = match &options.file {
        None => written(io::stderr(), WAITING),
        Some(path) => {
            let file = File::options().create(true).append(true).open(path);
            written(file.map_err(|reason| LogError::File { path: path.clone(), reason })?, WAITING)
        }
    };
    let lines: Box<dyn Layer<Registry> + Send + Sync> = if human {
        fmt::layer().with_writer(writer).with_target(false).with_filter(filter).boxed()
    } else {
        JsonLayer::new(writer).with_filter(filter).boxed()
    };
    let provider = options.otlp.as_ref().map(exporter).transpose()?;
    let spans = provider.as_ref().map(|provider| export_layer(provider.tracer("cellspace")));
    tracing_subscriber::registry().with(lines).with(spans).try_init().map_err(|_| LogError::Again)?;
    Ok(LogGuard { spans: provider, lines: guard })
}

/// A thread that writes lines there in their order, for which so many wait.
fn written(to: impl Write + Send + 'static, waiting: usize) -> (NonBlocking, Lines) {
    let (held, written) = mpsc::channel();
    let builder = NonBlockingBuilder::default().lossy(false).buffered_lines_limit(waiting).thread_name("logs");
    let (writer, thread) = builder.finish(Held(to, held));
    (writer, Lines { thread, written })
}

/// Spans of this platform alone: those of the exporter's own HTTP client would make more of themselves.
fn export_layer<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let ours = ["cellspace", "cellspace_actors", "cellspace_cluster", "cellspace_storage"];
    let targets = Targets::new().with_targets(ours.map(|target| (target, tracing::Level::INFO)));
    tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false).with_filter(targets)
}

fn exporter(base: &Url) -> Result<SdkTracerProvider, LogError> {
    let failed = |e: &dyn std::fmt::Display| LogError::Exporter(e.to_string());
    let endpoint = format!("{}/v1/traces", base.as_str().trim_end_matches('/'));
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).with_endpoint(endpoint);
    let exporter = exporter.build().map_err(|e| failed(&e))?;
    let processor = BatchSpanProcessor::builder(exporter, Tokio).build();
    let resource = Resource::builder().with_service_name("cellspace").build();
    Ok(SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource).build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        observe::trace::server_span,
        server::{Lag, activity::SocketRequest, serve},
    };
    use bytes::Bytes;
    use cellspace_schemas::TraceContext;
    use http::Response;
    use http_body_util::{BodyExt, Full};
    use parking_lot::Mutex;
    use std::{convert::Infallible, sync::Arc};
    use tokio::net::TcpListener;

    /// Takes a line when it is let to.
    struct Slow(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // When nobody is there to say so any more it takes all.
            let _ = self.0.recv();
            self.1.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn who_logs_waits_for_no_disk_and_every_line_is_written_in_its_order() {
        let (go_on, told) = mpsc::channel();
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let (writer, lines) = written(Slow(told, taken.clone()), 1_000);
        let (next, logged) = mpsc::channel();
        let logs = std::thread::spawn(move || {
            tracing::subscriber::with_default(tracing_subscriber::registry().with(JsonLayer::new(writer)), || {
                for n in 0..2_000 {
                    tracing::info!(n, "a line");
                    next.send(n).unwrap();
                }
            });
        });
        // So many wait, and one is on its way to the disk.
        assert!(logged.iter().take(1_000).eq(0..1_000));
        assert!(taken.lock().is_empty());
        drop(go_on);
        logs.join().unwrap();
        LogGuard { spans: None, lines }.flush().await;
        let text = String::from_utf8(taken.lock().clone()).unwrap();
        let number = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["n"].as_u64().unwrap();
        assert!(text.lines().map(number).eq(0..2_000), "{text}");
    }

    /// The end of the process waits for lines on a slow disk, longer than the thread's guard does.
    #[tokio::test]
    async fn what_was_logged_last_is_written_before_the_end() {
        let (go_on, told) = mpsc::channel();
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let (mut writer, lines) = written(Slow(told, taken.clone()), 10);
        writer.write_all(b"the last line").unwrap();
        let mut ended = tokio::spawn(LogGuard { spans: None, lines }.flush());
        assert!(tokio::time::timeout(Duration::from_millis(1_500), &mut ended).await.is_err() && taken.lock().is_empty());
        go_on.send(()).unwrap();
        ended.await.unwrap();
        assert_eq!(&*taken.lock(), b"the last line");
    }

    /// The collector gets the span, in the trace of the caller, with the ids that travelled on.
    #[tokio::test]
    async fn spans_reach_the_collector() {
        let (sent, mut received) = tokio::sync::mpsc::unbounded_channel();
        let collect = tower::service_fn(move |request: SocketRequest| {
            let sent = sent.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                sent.send((path, body)).unwrap();
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync()))
            }
        });
        let sink = serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), None, collect, 8, &Lag::default()).unwrap();
        let base = Url::parse(&format!("http://{}", sink.address())).unwrap();
        let provider = exporter(&base).unwrap();
        let parent = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let subscriber = tracing_subscriber::registry().with(export_layer(provider.tracer("test")));
        let context =
            tracing::subscriber::with_default(subscriber, || server_span(Some(&parent), &http::Method::POST, "/x", "admin", None).1);
        export_all(provider).await;
        let (path, body) = received.recv().await.unwrap();
        assert_eq!(path, "/v1/traces");
        let holds = |hex: &str| {
            let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
            body.windows(bytes.len()).any(|window| window == bytes)
        };
        assert!(holds(context.trace_id()) && holds(&context.as_str()[36..52]) && holds("00f067aa0ba902b7"));
        sink.drain(Duration::from_secs(1)).await;
    }
}
