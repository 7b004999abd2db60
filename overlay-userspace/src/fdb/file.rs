//! Stations in a file, one on a line.

use std::{collections::HashMap, net::IpAddr};

use overlay_common::{MacAddr, Vni, maps::fdb::Place};

use super::{At, Change, Fault, Known, To, change_all, place};
use crate::{
    error::{Error, Result},
    instance::Instance,
    netlink::Netlink,
};

/// What is to become of the stations of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// They are put where the file says.
    Put(Known),
    /// They are forgotten.
    Forget {
        /// Whether they need not be there.
        missing_ok: bool,
    },
}

/// The lines of a file that name a station.
#[derive(Debug)]
pub struct Stations<'a> {
    /// What errors call the file.
    name: &'a str,
    lines: Vec<Line<'a>>,
}

/// A station.
#[derive(Clone, Copy, Debug)]
struct Line<'a> {
    number: usize,
    vni: Vni,
    mac: MacAddr,
    /// The address of a VTEP, or the device of a port.
    place: Option<&'a str>,
}

impl<'a> Stations<'a> {
    /// Reads lines of segment, address and place, in words: the segment is left out where all are of `vni`, and the place may
    /// be where it is not needed. What follows a `#` does not count.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for the first line that is not so; it says which.
    pub fn parse(name: &'a str, text: &'a str, vni: Option<Vni>, action: Action) -> Result<Self> {
        let mut lines = Vec::new();
        for (index, text) in text.lines().enumerate() {
            let number = index + 1;
            let words = text.split('#').next().unwrap_or_default();
            let line = Line::parse(number, words, vni, action);
            lines.extend(line.map_err(|what| Error::Usage(format!("line {number} of {name}: {what}")))?);
        }
        Ok(Self { name, lines })
    }

    /// Does so to all of them, or to none; how many there are.
    ///
    /// # Errors
    ///
    /// As [`change_all`] and [`super::add`] do; they say which line is why.
    pub async fn apply(&self, instance: &Instance, netlink: &Netlink, action: Action) -> Result<usize> {
        let mut changes = Vec::with_capacity(self.lines.len());
        let mut places = HashMap::new();
        for line in &self.lines {
            let to = match (action, line.place) {
                (Action::Put(known), Some(word)) => {
                    let place = self.place(instance, netlink, &mut places, (line, word)).await?;
                    To::Place(place, known)
                }
                (Action::Put(_), None) => continue,
                (Action::Forget { missing_ok }, _) => To::Nowhere { missing_ok },
            };
            changes.push(Change { vni: line.vni, mac: line.mac, to });
        }
        let line = |at: Option<usize>| self.lines.get(at?);
        change_all(instance, &changes).map_err(|Fault { at, error }| match line(at) {
            Some(line) => self.named(line, error),
            None => error,
        })?;
        Ok(changes.len())
    }

    /// The place in the segment of a line that a word names; many lines name the same.
    async fn place(
        &self,
        instance: &Instance,
        netlink: &Netlink,
        places: &mut HashMap<(Vni, &'a str), Place>,
        (line, word): (&Line<'a>, &'a str),
    ) -> Result<Place> {
        if let Some(place) = places.get(&(line.vni, word)) {
            return Ok(*place);
        }
        let place = place(instance, netlink, line.vni, &at(word)).await;
        let place = place.map_err(|error| self.named(line, error))?;
        places.insert((line.vni, word), place);
        Ok(place)
    }

    fn named(&self, line: &Line<'_>, error: Error) -> Error {
        error.because_of(format_args!("line {} of {}", line.number, self.name))
    }
}

impl<'a> Line<'a> {
    /// `None`: there is no word in it.
    fn parse(number: usize, text: &'a str, vni: Option<Vni>, action: Action) -> Result<Option<Self>, String> {
        let mut words = text.split_whitespace().peekable();
        if words.peek().is_none() {
            return Ok(None);
        }
        let vni = match vni {
            Some(vni) => vni,
            None => words.next().unwrap_or_default().parse().map_err(|error| {
                format!("{error}; a line is VNI, MAC and place, or MAC and place with --vni")
            })?,
        };
        let mac = words.next().ok_or("there is no MAC address")?;
        let mac: MacAddr = mac.parse().map_err(|error| format!("{mac:?}: {error}"))?;
        let place = words.next();
        if place.is_none() && matches!(action, Action::Put(_)) {
            return Err(format!("where is {mac}? Name a VTEP's address or a port's device behind it"));
        }
        match words.next() {
            Some(word) => Err(format!("{word:?} is one word too many")),
            None => Ok(Some(Self { number, vni, mac, place })),
        }
    }
}

/// What is an address is a VTEP's; anything else is a port.
fn at(word: &str) -> At {
    word.parse::<IpAddr>().map_or_else(|_| At::Port(word.to_owned()), At::Remote)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUT: Action = Action::Put(Known::Stays);
    const FORGET: Action = Action::Forget { missing_ok: false };

    /// Each line as a text of number, segment, address and place.
    fn parsed(text: &str, vni: Option<u32>, action: Action) -> Result<Vec<String>, String> {
        let stations = Stations::parse("f", text, vni.and_then(Vni::new), action);
        let row = |line: &Line<'_>| format!("{} {} {} {:?}", line.number, line.vni, line.mac, line.place);
        stations.map(|all| all.lines.iter().map(row).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_have_a_segment_unless_all_have_it() {
        let text = "# all\n\n  7 02:00:00:00:00:01\t10.0.0.2 # one\r\n8 02:00:00:00:00:02 p1";
        let rows = ["3 7 02:00:00:00:00:01 Some(\"10.0.0.2\")", "4 8 02:00:00:00:00:02 Some(\"p1\")"];
        assert_eq!(parsed(text, None, PUT).unwrap(), rows);
        assert_eq!(parsed("02:00:00:00:00:01", Some(9), FORGET).unwrap(), ["1 9 02:00:00:00:00:01 None"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, vni, why) in [
            ("\n02:00:00:00:00:0x p1", Some(7), "line 2 of f: \"02:00:00:00:00:0x\": not a MAC address"),
            ("02:00:00:00:00:01", Some(7), "line 1 of f: where is 02:00:00:00:00:01?"),
            ("02:00:00:00:00:01 p1", None, "line 1 of f: "),
            ("7", None, "line 1 of f: there is no MAC address"),
            ("02:00:00:00:00:01 p1 p2", Some(7), "line 1 of f: \"p2\" is one word too many"),
        ] {
            let error = parsed(text, vni, PUT).expect_err("was taken");
            assert!(error.starts_with(why), "{text:?}: {error}");
        }
    }
}
