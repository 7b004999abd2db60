//! What commands take, out of words that come from elsewhere: a configuration file has the same settings, and they are read
//! here by the same parsers.

use std::net::SocketAddr;

use clap::{Args, Command};

use super::{parse, port, run, tunnel, up, vni};
use crate::{port::Limits, segment, tunnel as tunnels, up as instances};

/// A setting that cannot be so: its place among those given, and why, in words.
pub(crate) type Refused = (usize, String);

/// Settings as options: their names, and what they shall be.
pub(crate) type Pairs<'a> = [(&'a str, String)];

/// What `overlay vni set` takes.
pub(crate) fn segment(pairs: &Pairs<'_>) -> Result<segment::Change, Refused> {
    read::<vni::Settings>(pairs).map(Into::into)
}

/// What `overlay up` takes.
pub(crate) fn vtep(pairs: &Pairs<'_>) -> Result<instances::Settings, Refused> {
    read::<up::SettingsArgs>(pairs).map(Into::into)
}

/// What `overlay port set` takes.
pub(crate) fn limits(pairs: &Pairs<'_>) -> Result<Limits, Refused> {
    read::<port::Settings>(pairs).map(Into::into)
}

/// What `overlay tunnel add` takes: how the remote VTEP is reached, and on which device.
pub(crate) fn reach(pairs: &Pairs<'_>) -> Result<(tunnels::Settings, Option<String>), Refused> {
    read::<tunnel::Reach>(pairs).map(tunnel::Reach::into_parts)
}

/// What `overlay run --metrics` takes, and whether there are any.
pub(crate) fn metrics(text: &str) -> Result<Option<SocketAddr>, String> {
    match text {
        "off" => Ok(None),
        "on" => run::socket(run::METRICS).map(Some),
        text => run::socket(text).map(Some),
    }
}

pub(crate) use parse::{address, overlay_address, station};

/// Reads options as the command does that has them.
fn read<A: Args>(pairs: &Pairs<'_>) -> Result<A, Refused> {
    try_read(pairs).map_err(|message| {
        // Which it was shows where each is read alone; what only the whole lacks is blamed on the first.
        let is_refused = |pair: &(&str, String)| {
            try_read::<A>(std::slice::from_ref(pair)).err().filter(|alone| *alone == message)
        };
        let culprit = pairs.iter().position(|pair| is_refused(pair).is_some());
        (culprit.unwrap_or_default(), message)
    })
}

fn try_read<A: Args>(pairs: &Pairs<'_>) -> Result<A, String> {
    let options = pairs.iter().map(|(name, value)| format!("--{name}={value}"));
    let command = A::augment_args(Command::new("overlay").no_binary_name(true).disable_help_flag(true));
    command
        .try_get_matches_from(options)
        .and_then(|matches| A::from_arg_matches(&matches))
        .map_err(|error| plain(&parse::one_line(&error.to_string())))
}

/// What is wrong with a value, without the option that clap names: the file has its own names.
fn plain(message: &str) -> String {
    let reason = message.strip_prefix("invalid value '").and_then(|rest| {
        let (value, rest) = rest.split_once("' for '--")?;
        let (_, reason) = rest.split_once('\'')?;
        let reason = reason.trim_start_matches(':').trim();
        Some(format!("{value:?}: {}", expected(reason)))
    });
    reason.unwrap_or_else(|| message.to_owned())
}

fn expected(reason: &str) -> String {
    match reason.strip_prefix("[possible values: ").and_then(|rest| rest.split_once(']')) {
        Some((values, _)) => format!("name one of {values}"),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_commands_read_them() {
        let pairs = [("ttl", "inherit".to_owned()), ("flap-window", "9".to_owned())];
        let change = segment(&pairs).expect("settings of a segment");
        assert_eq!(change.flap_window, Some(9));
        let refused = segment(&[("ttl", "64".to_owned()), ("flap-window", "0".to_owned())]);
        let (place, why) = refused.expect_err("a window of no seconds");
        assert_eq!(place, 1);
        assert!(why.starts_with("\"0\": 0 is not in"), "{why}");
        let (_, why) = segment(&[("df", "maybe".to_owned())]).expect_err("no such choice");
        assert_eq!(why, "\"maybe\": name one of set, unset, inherit");
    }
}
