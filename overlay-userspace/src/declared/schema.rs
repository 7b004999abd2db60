//! What values can be, in the words of JSON Schema.
#![expect(dead_code, reason = "only their schemas are used")]

use schemars::{JsonSchema, Schema, generate::SchemaSettings};

use super::file::File;

/// The JSON Schema (draft 2020-12) of the configuration file.
#[must_use]
pub fn schema() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>()
}

/// `true` is on, `false` off.
#[derive(JsonSchema)]
#[serde(untagged)]
pub(super) enum Switch {
    Bool(bool),
    Word(OnOff),
}

/// A setting that is on or off.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnOff {
    On,
    Off,
}

/// On, off, or a number.
#[derive(JsonSchema)]
#[serde(untagged)]
pub(super) enum SwitchOrNumber {
    Bool(bool),
    Word(OnOff),
    Number(u16),
}

/// On, off, or text.
#[derive(JsonSchema)]
#[serde(untagged)]
pub(super) enum SwitchOrText {
    Bool(bool),
    Text(String),
}

/// A number, or a word that stands for one.
#[derive(JsonSchema)]
#[serde(untagged)]
pub(super) enum NumberOrText {
    Number(u32),
    Text(String),
}

/// An address, or several.
#[derive(JsonSchema)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// How XDP serves uplinks.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Xdp {
    Auto,
    Native,
    Generic,
    Off,
}

/// Whether the kernel merges tunnel packets.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TunnelGro {
    Auto,
    On,
    Off,
}

/// How TC programs are attached.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tc {
    Auto,
    Tcx,
    Clsact,
}

/// What becomes of frames with VLAN tags.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Vlan {
    Drop,
    Keep,
}

/// The don't-fragment bit.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Df {
    Set,
    Unset,
    Inherit,
}

/// What becomes of packets with reserved bits.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reserved {
    Ignore,
    Drop,
}

/// What becomes of requests for addresses that are not known.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unknown {
    Flood,
    Drop,
}
