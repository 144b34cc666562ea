//! Proving times as a bar chart.

use std::path::Path;

use eyre::{eyre, Result};
use plotters::prelude::*;

/// One workload: its name, our time, and the peer's where it was measured; milliseconds.
pub struct Bars {
    pub name: String,
    pub ours: f64,
    pub peer: Option<f64>,
}

const OURS: RGBColor = RGBColor(0x2b, 0x6c, 0xb0);
const PEER: RGBColor = RGBColor(0xa0, 0xae, 0xc0);
const ROW: u32 = 56;
const WIDTH: u32 = 860;

/// Draws the bars of each workload relative to the slower of the two, with the times beside them.
///
/// # Errors
///
/// When the file cannot be written.
pub fn draw(path: &Path, title: &str, peer: &str, workloads: &[Bars]) -> Result<()> {
    let height = 70 + ROW * workloads.len() as u32;
    let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    let failed = |error: DrawingAreaErrorKind<_>| eyre!("cannot draw {}: {error:?}", path.display());
    root.fill(&WHITE).map_err(failed)?;
    let text = |size: u32| ("sans-serif", size).into_font().color(&RGBColor(0x2d, 0x37, 0x48));
    root.draw(&Text::new(title.to_owned(), (16, 12), text(18))).map_err(failed)?;
    for (x, color, name) in [(16, OURS, "openvm-wgpu-backend"), (220, PEER, peer)] {
        root.draw(&Rectangle::new([(x, 42), (x + 12, 54)], color.filled())).map_err(failed)?;
        root.draw(&Text::new(name.to_owned(), (x + 18, 42), text(13))).map_err(failed)?;
    }
    for (row, bars) in workloads.iter().enumerate() {
        let top = 70 + (ROW * row as u32) as i32;
        root.draw(&Text::new(bars.name.clone(), (16, top + 12), text(14))).map_err(failed)?;
        let longest = bars.ours.max(bars.peer.unwrap_or(0.0));
        for (i, (ms, color)) in [(Some(bars.ours), OURS), (bars.peer, PEER)].into_iter().enumerate() {
            let Some(ms) = ms else { continue };
            let (y, length) = (top + 22 * i as i32, (ms / longest * 560.0).round() as i32);
            root.draw(&Rectangle::new([(120, y), (120 + length, y + 18)], color.filled())).map_err(failed)?;
            root.draw(&Text::new(format!("{ms:.1} ms"), (128 + length, y + 2), text(13))).map_err(failed)?;
        }
    }
    root.present().map_err(failed)
}
