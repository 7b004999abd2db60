//! The table of what XDP forwards.

use comfy_table::Table;

use super::table::{align, cell, new_table};
use crate::{
    figure::Figure,
    live::{PEERS, SETTING},
    peer::Peer,
    results::Results,
};

/// One line: a column for each peer.
pub(super) fn table(results: &Results) -> Table {
    let mut table = new_table();
    table.set_header(std::iter::once("live frames".to_owned()).chain(PEERS.iter().map(Peer::to_string)));
    let figure = Figure::LiveFrames;
    let cells = PEERS.iter().map(|&peer| cell(results, SETTING, peer, figure));
    table.add_row(std::iter::once(format!("{}\n{}", figure.what(), figure.unit())).chain(cells));
    align(&mut table);
    table
}
