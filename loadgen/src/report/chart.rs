//! Charts as SVG: scales with their ticks, and the frame that every chart is drawn in. What is drawn
//! is left to [`charts`]; colours come from the page's style sheet.

pub(super) mod charts;
mod scale;

use std::fmt::Write as _;

pub(super) use scale::Scale;

use super::text::markup as escaped;

/// The size of a chart in its own units; the page scales it.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 280.0;
/// Room for the labels of the axes.
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 42.0;
/// The widest that a character of a label becomes.
const CHARACTER: f64 = 6.4;

/// A line of a legend, drawn as the class `l1`, `l2` or `l3` (or filled, as `a1`, …) says.
pub(super) struct Legend {
    pub(super) class: &'static str,
    pub(super) name: &'static str,
}

/// A part of the horizontal axis that is shaded and named.
pub(super) struct Band {
    pub(super) from: f64,
    pub(super) until: f64,
    pub(super) name: String,
    pub(super) class: &'static str,
}

/// A chart without its content.
pub(super) struct Frame<'c> {
    /// Distinguishes charts of a page.
    pub(super) id: &'c str,
    pub(super) title: &'c str,
    /// What is to be seen, for those who do not see it.
    pub(super) description: String,
    pub(super) x: Scale,
    pub(super) x_label: &'c str,
    pub(super) y: Scale,
    pub(super) y_label: &'c str,
    pub(super) bands: Vec<Band>,
    pub(super) legend: Vec<Legend>,
}

impl Frame<'_> {
    /// Where a value stands from the left.
    pub(super) fn x(&self, value: f64) -> f64 {
        LEFT + self.x.share(value) * (WIDTH - LEFT - RIGHT)
    }

    /// Where a value stands from the top.
    pub(super) fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.share(value) * (HEIGHT - TOP - BOTTOM)
    }

    /// A line through points; a missing value interrupts it.
    pub(super) fn line(
        &self,
        class: &str,
        points: impl Iterator<Item = (f64, Option<f64>)>,
    ) -> String {
        let mut path = String::new();
        let mut is_pen_down = false;
        let mut before = None;
        let mut lone = Vec::new();
        for (x, y) in points {
            let Some(y) = y else {
                is_pen_down = false;
                lone.extend(before.take());
                continue;
            };
            let (x, y) = (self.x(x), self.y(y));
            let letter = if is_pen_down { 'L' } else { 'M' };
            write!(path, "{letter}{x:.1} {y:.1}").expect("a string takes everything");
            before = (!is_pen_down).then_some((x, y));
            is_pen_down = true;
        }
        lone.extend(before);
        let mut svg = format!("<path class=\"{class}\" d=\"{path}\"/>");
        // A point between two gaps would be no line at all.
        for (x, y) in lone {
            svg += &format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.5\"/>");
        }
        svg
    }

    /// Bars from zero, each over `step` of the horizontal axis.
    pub(super) fn bars(
        &self,
        class: &str,
        step: f64,
        values: impl Iterator<Item = (f64, f64)>,
    ) -> String {
        let mut path = String::new();
        let zero = self.y(0.0);
        for (from, value) in values.filter(|(_, value)| *value > 0.0) {
            let (left, right, top) = (self.x(from), self.x(from + step), self.y(value));
            // At least half a unit wide and one high, so that a lone failure is seen.
            let (width, top) = ((right - left).max(0.5), top.min(zero - 1.0));
            write!(path, "M{left:.1} {zero:.1}V{top:.1}h{width:.1}V{zero:.1}z")
                .expect("a string takes everything");
        }
        format!("<path class=\"{class}\" d=\"{path}\"/>")
    }

    /// The chart as a figure of a page.
    pub(super) fn figure(&self, content: &str) -> String {
        let (id, title) = (self.id, escaped(self.title));
        let legend: String = self.legend.iter().map(|one| {
            format!(
                "<span><svg width=\"22\" height=\"10\" aria-hidden=\"true\"><path class=\"{}\" d=\"{}\"/></svg>{}</span>",
                one.class,
                if one.class.starts_with('a') { "M1 1h20v8h-20z" } else { "M1 5h20" },
                escaped(one.name)
            )
        }).collect();
        format!(
            "<figure>\n<figcaption><b>{title}</b>{legend}</figcaption>\n\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{}</desc>\n{}{}{content}\n{}</svg>\n</figure>\n",
            escaped(&self.description),
            self.bands(),
            self.grid(),
            self.labels()
        )
    }

    /// A chart of which there is nothing to draw.
    pub(super) fn remark(&self, text: &str) -> String {
        let (x, y) = ((LEFT + WIDTH - RIGHT) / 2.0, (TOP + HEIGHT - BOTTOM) / 2.0);
        format!(
            "<text class=\"remark\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
            escaped(text)
        )
    }

    fn bands(&self) -> String {
        let mut svg = String::new();
        let mut free_from = LEFT;
        for band in &self.bands {
            let (left, right) = (self.x(band.from), self.x(band.until));
            if right <= left {
                continue;
            }
            let (top, width, height) = (TOP, right - left, HEIGHT - TOP - BOTTOM);
            let name = escaped(&band.name);
            svg += &format!(
                "<rect class=\"{}\" x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{height}\"><title>{name}</title></rect>\n",
                band.class
            );
            // A name that does not fit is still in the title and in the table of stages.
            let taken = band.name.chars().count() as f64 * CHARACTER;
            let begin = left.max(free_from) + 3.0;
            if begin + taken <= right {
                let y = TOP + 12.0;
                svg += &format!("<text class=\"stage\" x=\"{begin:.1}\" y=\"{y}\">{name}</text>\n");
                free_from = begin + taken;
            }
        }
        svg
    }

    fn grid(&self) -> String {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut svg = String::new();
        for (value, _) in self.y.ticks() {
            let y = self.y(value);
            svg += &format!("<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>");
        }
        for (value, _) in self.x.ticks() {
            let x = self.x(value);
            svg += &format!("<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>");
        }
        svg + &format!("<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\n")
    }

    fn labels(&self) -> String {
        let mut svg = String::new();
        let bottom = HEIGHT - BOTTOM;
        let mut free_from = 0.0;
        for (value, label) in self.x.ticks() {
            let x = self.x(value);
            let half = label.chars().count() as f64 * CHARACTER / 2.0;
            if x - half < free_from || x > WIDTH {
                continue;
            }
            free_from = x + half + CHARACTER;
            // The last label may stand a little before its tick.
            let x = x.min(WIDTH - half);
            let y = bottom + 16.0;
            svg += &format!(
                "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
                escaped(&label)
            );
        }
        for (value, label) in self.y.ticks() {
            let (x, y) = (LEFT - 6.0, self.y(value) + 4.0);
            svg += &format!(
                "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>",
                escaped(&label)
            );
        }
        let (middle, y) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 6.0);
        let (x_label, y_label) = (escaped(self.x_label), escaped(self.y_label));
        svg + &format!(
            "<text class=\"unit\" x=\"{middle}\" y=\"{y}\" text-anchor=\"middle\">{x_label}</text>\
             <text class=\"unit\" x=\"4\" y=\"{}\">{y_label}</text>\n",
            TOP - 14.0
        )
    }
}
