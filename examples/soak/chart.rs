//! Memory of host and device, and proofs, over time.

use std::path::Path;

use eyre::{eyre, Result};
use plotters::prelude::*;

use super::watch::{Sample, Samples};

const MIB: f64 = (1 << 20) as f64;

/// A name, a colour, and what is drawn.
type Line = (&'static str, RGBColor, fn(&Sample) -> f64);

/// Draws memory in MiB (left) and proofs in thousands (right).
///
/// # Errors
///
/// When the file cannot be written.
pub fn draw(path: &Path, title: &str, samples: &Samples) -> Result<()> {
    let failed = |error: String| eyre!("cannot draw {}: {error}", path.display());
    plot(path, title, &samples.0).map_err(|error| failed(error.to_string()))
}

fn plot(path: &Path, title: &str, samples: &[Sample]) -> Result<(), Box<dyn std::error::Error>> {
    let most = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).fold(1.0, f64::max);
    let end = most(&|sample| sample.seconds);
    let memory = 1.1 * most(&|sample| sample.host.max(sample.device) as f64 / MIB);
    let proofs = 1.1 * most(&|sample| sample.proofs as f64 / 1e3);
    let root = SVGBackend::new(path, (860, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .right_y_label_area_size(64)
        .build_cartesian_2d(0.0..end, 0.0..memory)?
        .set_secondary_coord(0.0..end, 0.0..proofs);
    chart.configure_mesh().disable_mesh().x_desc("seconds").y_desc("MiB").draw()?;
    chart.configure_secondary_axes().y_desc("thousand proofs").draw()?;
    let lines: [Line; 2] = [
        ("host", RGBColor(0x2b, 0x6c, 0xb0), |sample| sample.host as f64 / MIB),
        ("device", RGBColor(0xc0, 0x56, 0x21), |sample| sample.device as f64 / MIB),
    ];
    for (name, color, of) in lines {
        let points = samples.iter().map(|sample| (sample.seconds, of(sample)));
        chart.draw_series(LineSeries::new(points, color))?.label(name).legend(move |(x, y)| key(x, y, color));
    }
    let color = RGBColor(0x71, 0x80, 0x96);
    let points = samples.iter().map(|sample| (sample.seconds, sample.proofs as f64 / 1e3));
    chart.draw_secondary_series(LineSeries::new(points, color))?.label("proofs").legend(move |(x, y)| key(x, y, color));
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    root.present()?;
    Ok(())
}

/// A short line beside a name.
fn key(x: i32, y: i32, color: RGBColor) -> PathElement<(i32, i32)> {
    PathElement::new(vec![(x, y), (x + 16, y)], color)
}
