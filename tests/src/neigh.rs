//! What `overlay neigh show` and `overlay stats --neigh` say.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{frame::Mac, topology::Host};

/// A neighbour as it is shown, but for its age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its MAC address.
    pub mac: String,
    /// Who says so.
    pub origin: String,
    /// Whether it is a router.
    pub router: bool,
}

impl Neighbour {
    /// A neighbour that is no router.
    #[must_use]
    pub fn new(mac: Mac, origin: &str) -> Self {
        Self { mac: mac.to_string(), origin: origin.to_owned(), router: false }
    }
}

/// Who has `address` in segment `vni`, as `host` knows it.
pub fn of(host: &Host, vni: u32, address: IpAddr) -> Result<Option<Neighbour>> {
    let all = host.overlay_json(&["neigh", "show", "--vni", &vni.to_string()])?;
    let rows = all.as_array().with_context(|| format!("no array: {all}"))?;
    let mut found = rows.iter().filter(|row| row["ip"] == address.to_string());
    let first = found.next();
    ensure!(found.next().is_none(), "{address} is there twice");
    let Some(row) = first else { return Ok(None) };
    ensure!(row["vni"] == vni && row["age_s"].is_u64(), "not as documented: {row}");
    let text = |key: &str| row[key].as_str().map(str::to_owned).with_context(|| format!("{key}: {row}"));
    let router = row["router"].as_bool().with_context(|| format!("router: {row}"))?;
    Ok(Some(Neighbour { mac: text("mac")?, origin: text("origin")?, router }))
}

/// Fails unless `address` is what is expected.
pub fn expect(host: &Host, vni: u32, address: IpAddr, expected: Option<&Neighbour>) -> Result<()> {
    let found = of(host, vni, address)?;
    ensure!(found.as_ref() == expected, "{address} is {found:?} instead of {expected:?}");
    Ok(())
}

/// The row of `overlay stats --neigh` of a segment.
pub fn stats(host: &Host, vni: u32) -> Result<Value> {
    let all = host.overlay_json(&["stats", "--neigh", "--vni", &vni.to_string()])?;
    let rows = all["neigh"].as_array().with_context(|| format!("no array: {all}"))?;
    ensure!(rows.len() == 1, "one row expected: {all}");
    Ok(rows[0].clone())
}

/// How many requests a segment has seen, and how many of them were answered on the host.
pub fn requests(host: &Host, vni: u32) -> Result<(u64, u64)> {
    let row = stats(host, vni)?;
    let number = |key: &str| row[key].as_u64().with_context(|| format!("{key}: {row}"));
    Ok((number("requests")?, number("answered")?))
}
