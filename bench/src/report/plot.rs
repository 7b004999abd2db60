//! A drawing: a small bar chart for each figure, with the spread of its values.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::{
        BLACK, ChartBuilder, Color as _, DrawingArea, IntoDrawingArea as _, PathElement, RGBColor, Rectangle,
        SVGBackend, Text, WHITE,
    },
};

use crate::{
    cli::Plan,
    figure::{Better, Figure},
    peer::Peer,
    report::table::number,
    results::Results,
    setting::Setting,
    stats::Summary,
};

/// Width and height of a chart, in pixels.
const CHART: (u32, u32) = (300, 220);
/// Charts side by side.
const ACROSS: usize = 4;
/// Height of the line that says which colour is whose.
const LEGEND: u32 = 36;
/// Width of one of its entries.
const ENTRY: i32 = 150;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws all figures that were measured.
///
/// # Errors
///
/// When the file cannot be written.
pub(crate) fn draw(path: &Path, plan: &Plan, results: &Results) -> Result<()> {
    let charts: Vec<_> = plan
        .settings
        .iter()
        .flat_map(|&setting| {
            plan.probes.iter().flat_map(|probe| probe.figures()).map(move |&figure| (setting, figure))
        })
        .collect();
    let down = charts.len().div_ceil(ACROSS).max(1);
    let size = (CHART.0 * u32::try_from(ACROSS)?, CHART.1 * u32::try_from(down)? + LEGEND);
    let shown = path.display();
    let drawing = || -> Result<()> {
        let whole = SVGBackend::new(path, size).into_drawing_area();
        whole.fill(&WHITE)?;
        let (top, rest) = whole.split_vertically(LEGEND);
        legend(&top, &plan.peers)?;
        for (area, (setting, figure)) in rest.split_evenly((down, ACROSS)).iter().zip(charts) {
            chart(area, plan, results, setting, figure)?;
        }
        Ok(whole.present()?)
    };
    drawing().map_err(|error| anyhow!("drawing {shown}: {error}"))
}

fn legend(area: &Area<'_>, peers: &[Peer]) -> Result<()> {
    for (place, &peer) in (0..).zip(peers) {
        let x = 20 + place * ENTRY;
        area.draw(&Rectangle::new([(x, 12), (x + 14, 26)], colour(peer).filled()))?;
        area.draw(&Text::new(peer.name(), (x + 20, 12), ("sans-serif", 14)))?;
    }
    Ok(())
}

fn chart(area: &Area<'_>, plan: &Plan, results: &Results, setting: Setting, figure: Figure) -> Result<()> {
    let bars: Vec<(Peer, Option<Summary>)> =
        plan.peers.iter().map(|&peer| (peer, results.summary((setting, peer, figure)))).collect();
    let highest = bars.iter().filter_map(|(_, bar)| Some((*bar)?.max)).fold(0.0, f64::max);
    let height = if highest > 0.0 { highest * 1.05 } else { 1.0 };
    let better = match figure.better() {
        Better::Higher => "",
        Better::Lower => ", less is better",
    };
    let title = format!("{setting}: {}, {}{better}", figure.what(), figure.unit());
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 13))
        .margin(8)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..bars.len() as f64, 0.0..height)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_labels(5)
        .max_light_lines(0)
        .y_label_formatter(&|value| number(*value))
        .draw()?;
    for (place, (peer, bar)) in bars.iter().enumerate() {
        let Some(Summary { median, min, max }) = *bar else { continue };
        let left = place as f64;
        let body = [(left + 0.15, 0.0), (left + 0.85, median)];
        chart.draw_series([Rectangle::new(body, colour(*peer).filled())])?;
        let spread = vec![(left + 0.5, min), (left + 0.5, max)];
        chart.draw_series([PathElement::new(spread, BLACK.stroke_width(2))])?;
    }
    Ok(())
}

/// Colours that everybody can tell apart (Okabe and Ito).
const fn colour(peer: Peer) -> RGBColor {
    match peer {
        Peer::Kernel => RGBColor(0x99, 0x99, 0x99),
        Peer::External => RGBColor(0x56, 0xb4, 0xe9),
        Peer::Floor => RGBColor(0x44, 0x44, 0x44),
        Peer::OursOff => RGBColor(0x00, 0x9e, 0x73),
        Peer::OursIpv6 => RGBColor(0xcc, 0x79, 0xa7),
        Peer::OursGeneric => RGBColor(0xe6, 0x9f, 0x00),
        Peer::OursNative => RGBColor(0xd5, 0x5e, 0x00),
    }
}
