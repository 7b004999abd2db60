//! The same for people.

use super::rows::{Event, Port, Rows, Tunnel, Vtep};
use crate::{
    cli::output::{Table, or_dash},
    traffic::{Rates, Traffic, in_units},
};

impl Rows {
    /// For people; with rates instead of counts.
    pub(super) fn table(&self, with_rates: bool) -> Table {
        match self {
            Self::Segments(rows) if with_rates => lines(
                &["VNI", "REMOTE"],
                rows.iter().map(|row| (vec![row.vni.to_string(), or_dash(row.remote.as_ref())], row.rates)),
            ),
            Self::Segments(rows) => tunnels(rows),
            Self::Vnis(rows) if with_rates => lines(
                &["VNI", "LOCAL PACKETS", "LOCAL BITS"],
                rows.iter().map(|row| {
                    let local = row.local_rates.as_ref();
                    let packets = local.map(|rates| in_units(rates.local_packets_per_second, "pps"));
                    let bits = local.map(|rates| in_units(rates.local_bits_per_second, "bit/s"));
                    (vec![row.vni.to_string(), or_dash(packets), or_dash(bits)], row.rates)
                }),
            ),
            Self::Vnis(rows) => counts(
                &["VNI", "REMOTES", "LEARNED", "LOCAL PACKETS", "LOCAL BYTES"],
                rows.iter().map(|row| {
                    let numbers = [row.remotes as u64, row.learned, row.local_packets, row.local_bytes];
                    let cells = std::iter::once(row.vni.to_string());
                    (cells.chain(numbers.map(|number| number.to_string())).collect(), Some(row.traffic))
                }),
            ),
            Self::Vteps(rows) => {
                let first = |row: &Vtep| vec![row.remote.clone(), row.segments.to_string()];
                let heading = ["REMOTE", "SEGMENTS"];
                if with_rates {
                    lines(&heading, rows.iter().map(|row| (first(row), row.rates)))
                } else {
                    counts(&heading, rows.iter().map(|row| (first(row), Some(row.traffic))))
                }
            }
            Self::Ports(rows) => {
                let first = |row: &Port| vec![row.name.clone(), or_dash(row.vni)];
                let heading = ["PORT", "VNI"];
                if with_rates {
                    lines(&heading, rows.iter().map(|row| (first(row), row.rates)))
                } else {
                    counts(&heading, rows.iter().map(|row| (first(row), row.traffic)))
                }
            }
            Self::Drops(rows) => drops(["REASON", "PACKETS"], rows, with_rates.then_some("pps")),
            Self::Notices(rows) => drops(["NOTICE", "COUNT"], rows, with_rates.then_some("/s")),
        }
    }
}

fn lines(first: &[&str], rows: impl Iterator<Item = (Vec<String>, Option<Rates>)>) -> Table {
    let mut table = Table::with(&[first, &["TX PACKETS", "TX BITS", "RX PACKETS", "RX BITS"]].concat());
    for (mut cells, rates) in rows {
        cells.extend(match rates {
            None => ["-", "-", "-", "-"].map(str::to_owned),
            Some(rates) => [
                in_units(rates.tx_packets, "pps"),
                in_units(rates.tx_bits, "bit/s"),
                in_units(rates.rx_packets, "pps"),
                in_units(rates.rx_bits, "bit/s"),
            ],
        });
        table.push(cells);
    }
    table
}

fn counts(first: &[&str], rows: impl Iterator<Item = (Vec<String>, Option<Traffic>)>) -> Table {
    let mut table = Table::with(&[first, &["TX PACKETS", "TX BYTES", "RX PACKETS", "RX BYTES"]].concat());
    for (mut cells, traffic) in rows {
        cells.extend(match traffic {
            None => ["-", "-", "-", "-"].map(str::to_owned),
            Some(traffic) => [traffic.tx_packets, traffic.tx_bytes, traffic.rx_packets, traffic.rx_bytes]
                .map(|count| count.to_string()),
        });
        table.push(cells);
    }
    table
}

fn tunnels(rows: &[Tunnel]) -> Table {
    let mut table = Table::new([
        "VNI",
        "REMOTE",
        "TX PACKETS",
        "TX BYTES",
        "RX PACKETS",
        "RX BYTES",
        "NOT LEARNED",
        "NOT MOVED",
        "FLAPS",
    ]);
    for row in rows {
        table.row([
            row.vni.to_string(),
            or_dash(row.remote.as_ref()),
            row.traffic.tx_packets.to_string(),
            row.traffic.tx_bytes.to_string(),
            row.traffic.rx_packets.to_string(),
            row.traffic.rx_bytes.to_string(),
            row.not_learned.to_string(),
            row.not_moved.to_string(),
            row.flaps.to_string(),
        ]);
    }
    table
}

/// Those that ever happened, with the unit that rates have, if they are shown.
fn drops([what, count]: [&str; 2], rows: &[Event], unit: Option<&str>) -> Table {
    let heading = [what, count, "RATE"];
    let mut table = Table::with(if unit.is_some() { &heading } else { &heading[..2] });
    for row in rows {
        let (name, count) = row.what.parts();
        if count == 0 {
            continue;
        }
        let mut cells = vec![name.to_owned(), count.to_string()];
        cells.extend(unit.map(|unit| or_dash(row.per_second.map(|rate| in_units(rate, unit)))));
        table.push(cells);
    }
    table
}
