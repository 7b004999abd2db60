//! The agent's log, on its standard error: with times and colours on a terminal, with priorities for the journal, and plain
//! otherwise.

use std::{
    env, fmt,
    io::{self, IsTerminal as _},
    os::unix::fs::MetadataExt as _,
};

use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    filter::Targets,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Writer},
    },
    layer::SubscriberExt as _,
    registry::LookupSpan,
};

use crate::error::{Context as _, Error, Result};

/// The variable that says how much is logged, as `level` or `target=level,…`.
const VARIABLE: &str = "OVERLAY_LOG";

/// The target of what the programs in the kernel log. What the agent logs has targets that begin with [`OWN`].
pub(crate) const PROGRAMS: &str = "programs";
const OWN: &str = "overlay";

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// For people: time, level, colours.
    Terminal,
    /// For the journal, which has the time, and takes the priority from the line (`sd-daemon(3)`).
    Journal,
    /// As commands say things.
    Plain,
}

/// Has this process log from now on, instead of talking to people; `verbose`: everything.
///
/// # Errors
///
/// [`Error::Usage`] if [`VARIABLE`] makes no sense.
pub(crate) fn start(verbose: bool) -> Result<()> {
    let style = Style::here();
    let colours = style == Style::Terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt::layer()
        .event_format(style)
        .with_ansi(colours)
        // Nobody may listen any more.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    let subscriber = tracing_subscriber::registry().with(wanted(verbose)?).with(lines);
    tracing::subscriber::set_global_default(subscriber).context(|| "cannot log")
}

/// Whether this process logs.
pub(crate) fn is_on() -> bool {
    tracing::dispatcher::has_been_set()
}

/// What is logged.
fn wanted(verbose: bool) -> Result<Targets> {
    match env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => text.parse().map_err(|_| {
            Error::Usage(format!(
                "{VARIABLE}={text:?}: name a level as in `debug`, or some as in `warn,overlay=debug`"
            ))
        }),
        _ => Ok(targets(verbose)),
    }
}

fn targets(verbose: bool) -> Targets {
    let (own, programs) = if verbose { (Level::DEBUG, Level::TRACE) } else { (Level::INFO, Level::WARN) };
    Targets::new().with_target(OWN, own).with_target(PROGRAMS, programs).with_default(LevelFilter::WARN)
}

impl Style {
    /// That of this process's standard error.
    fn here() -> Self {
        if io::stderr().is_terminal() {
            Self::Terminal
        } else if env::var("JOURNAL_STREAM").is_ok_and(|stream| is_standard_error(&stream)) {
            Self::Journal
        } else {
            Self::Plain
        }
    }
}

/// Whether `DEVICE:INODE` is standard error, which somebody may have redirected since the journal was told.
fn is_standard_error(stream: &str) -> bool {
    let Ok(file) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", file.dev(), file.ino())
}

/// As `syslog.h` numbers them.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

impl<S, N> FormatEvent<S, N> for Style
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match self {
            Self::Terminal => {
                return Format::default().with_target(false).format_event(context, writer, event);
            }
            Self::Journal => write!(writer, "<{}>", priority(*event.metadata().level()))?,
            Self::Plain => writer.write_str("overlay: ")?,
        }
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_programs_say_is_logged_from_warnings_on() {
        let quiet = targets(false);
        assert!(quiet.would_enable("overlay_userspace::agent", &Level::INFO));
        assert!(!quiet.would_enable("overlay_userspace::agent", &Level::DEBUG));
        assert!(quiet.would_enable(PROGRAMS, &Level::WARN));
        assert!(!quiet.would_enable(PROGRAMS, &Level::INFO));
        let verbose = targets(true);
        assert!(verbose.would_enable("overlay_userspace::agent", &Level::DEBUG));
        assert!(verbose.would_enable(PROGRAMS, &Level::TRACE));
        assert!(!verbose.would_enable("hyper", &Level::INFO));
    }

    #[test]
    fn another_stream_is_not_the_journal() {
        assert!(!is_standard_error("0:0"));
        assert!(!is_standard_error("journal"));
    }
}
