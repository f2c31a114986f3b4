//! Drawing one frame. A pure function of the screen's state.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Gauge, Paragraph, Sparkline};

use super::super::Health;
use super::super::progress::Progress;
use super::Screen;
use crate::scenario::quantity::human_ns;

pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let thresholds = screen.progress.thresholds.len().clamp(1, 8) as u16 + 2;
    let [title, time, numbers, charts, lower, health] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(3),
        Constraint::Length(5),
        Constraint::Min(4),
        Constraint::Length(thresholds.max(6)),
        Constraint::Length(3),
    ])
    .areas(frame.area());
    draw_title(frame, title, &screen.progress);
    draw_time(frame, time, &screen.progress);
    draw_numbers(frame, numbers, &screen.progress);
    let [rate, p95] =
        Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(charts);
    draw_history(frame, rate, "rate /s", &screen.rates, Color::Cyan);
    draw_history(frame, p95, "p95 µs", &screen.p95s_us, Color::Magenta);
    let [thresholds, errors] =
        Layout::horizontal([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(lower);
    draw_thresholds(frame, thresholds, &screen.progress);
    draw_errors(frame, errors, &screen.progress);
    draw_health(frame, health, &screen.progress);
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, progress: &Progress) {
    let title = Line::from(vec![
        Span::from(format!("{} ", progress.scenario)).bold(),
        Span::from(format!("run {}", progress.run)),
        Span::from("   q stops").dim(),
    ]);
    frame.render_widget(Paragraph::new(title), area);
}

fn draw_time(frame: &mut Frame<'_>, area: Rect, progress: &Progress) {
    let total_ns = progress.total_ns().max(1);
    let ratio = (progress.elapsed_ns as f64 / total_ns as f64).clamp(0.0, 1.0);
    let label = match progress.stage() {
        Some(stage) if !progress.is_draining => {
            let of = progress.stages.len();
            let at = progress.stages.iter().position(|one| one == stage);
            format!("stage {} ({} of {of})", stage.name, at.unwrap_or(0) + 1)
        }
        _ => "waiting for the last answers".to_owned(),
    };
    let seconds = |ns: u64| ns as f64 / 1e9;
    let title = format!(
        "{:.0} of {:.0} s",
        seconds(progress.elapsed_ns),
        seconds(progress.total_ns())
    );
    let gauge = Gauge::default()
        .block(Block::bordered().title(title))
        .gauge_style(Style::new().fg(Color::Blue))
        .ratio(ratio)
        .label(label);
    frame.render_widget(gauge, area);
}

fn draw_numbers(frame: &mut Frame<'_>, area: Rect, progress: &Progress) {
    let ns = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), |ns| human_ns(ns as f64));
    let [recent, all] = [progress.recent, progress.latency].map(|quantiles| {
        format!(
            "p50 {}   p95 {}   p99 {}   max {}",
            ns(quantiles.p50_ns),
            ns(quantiles.p95_ns),
            ns(quantiles.p99_ns),
            ns(quantiles.max_ns)
        )
    });
    let generator = &progress.generator;
    let lines = vec![
        Line::from(format!(
            "{:.0}/s of {:.0}/s wanted   active {}   connections {}   waiting {}   processes {}",
            progress.rate_per_s,
            progress.arrivals_per_s,
            generator.active,
            generator.connections,
            generator.waiting,
            progress.processes,
        )),
        Line::from(format!("last second   {recent}")),
        Line::from(format!("since start   {all}")),
    ];
    let block = Block::bordered().title("response time, from when it was due");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_history(
    frame: &mut Frame<'_>,
    area: Rect,
    name: &str,
    history: &VecDeque<u64>,
    color: Color,
) {
    let width = area.width.saturating_sub(2) as usize;
    let skipped = history.len().saturating_sub(width);
    let shown: Vec<u64> = history.iter().skip(skipped).copied().collect();
    let most = shown.iter().max().copied().unwrap_or(0);
    let line = Sparkline::default()
        .block(Block::bordered().title(format!("{name}, up to {most}")))
        .style(Style::new().fg(color))
        .data(&shown);
    frame.render_widget(line, area);
}

fn draw_thresholds(frame: &mut Frame<'_>, area: Rect, progress: &Progress) {
    let mut lines: Vec<Line<'_>> = progress
        .thresholds
        .iter()
        .map(|one| {
            let color = match one.passed {
                Some(true) => Color::Green,
                Some(false) => Color::Red,
                None => Color::Yellow,
            };
            Line::from(one.text.as_str()).fg(color)
        })
        .collect();
    if lines.is_empty() {
        lines.push(Line::from("none").dim());
    }
    // The broken ones first, where not all have room.
    lines.sort_by_key(|line| line.style.fg != Some(Color::Red));
    let block = Block::bordered().title("thresholds");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_errors(frame: &mut Frame<'_>, area: Rect, progress: &Progress) {
    let mut lines: Vec<Line<'_>> = progress
        .failures
        .iter()
        .map(|(failure, count)| Line::from(format!("{count} {}", failure.as_str())).fg(Color::Red))
        .collect();
    if lines.is_empty() {
        lines.push(Line::from("none").dim());
    }
    let title = format!("errors: {} of {}", progress.failed, progress.operations);
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(title)),
        area,
    );
}

fn draw_health(frame: &mut Frame<'_>, area: Rect, progress: &Progress) {
    let line = if progress.generator.lost > 0 {
        let lost = progress.generator.lost;
        Line::from(format!("{lost} operations could not be recorded")).fg(Color::Red)
    } else if progress.lost_processes > 0 {
        let lost = progress.lost_processes;
        Line::from(format!("{lost} worker processes are lost")).fg(Color::Red)
    } else {
        match &progress.health {
            Health::Ok => Line::from("ok").fg(Color::Green),
            Health::Limited { reasons } => {
                Line::from(format!("limited: {}", reasons.join("; "))).fg(Color::Red)
            }
        }
    };
    let block = Block::bordered().title("generator");
    frame.render_widget(Paragraph::new(line).block(block), area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::run::testing;

    fn drawn(screen: &Screen, width: u16, height: u16) -> String {
        let backend = TestBackend::new(width, height);
        let mut terminal = Terminal::new(backend).expect("it cannot fail");
        terminal
            .draw(|frame| draw(frame, screen))
            .expect("it cannot fail");
        terminal.backend().to_string()
    }

    #[test]
    fn everything_that_matters_is_on_the_screen() {
        let mut screen = Screen::default();
        for _ in 0..5 {
            screen.take(&testing::progress());
        }
        let text = drawn(&screen, 100, 30);
        for expected in [
            "checkout run checkout-1",
            "12 of 30 s",
            "stage peak (2 of 2)",
            "498/s of 500/s wanted   active 3   connections 64   waiting 1",
            "last second   p50 2 ms   p95 8 ms   p99 20 ms   max 31 ms",
            "rate /s, up to 498",
            "p95 µs, up to 8000",
            "p95 300 ms < 200ms: failed",
            "error_rate 0.2 % < 1%: passed",
            "errors: 9 of 4000",
            "7 timeout",
            "2 dropped",
            "limited: 1 % of arrivals were late",
            "█████",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
    }

    #[test]
    fn lost_operations_and_processes_are_told_first() {
        let mut screen = Screen::default();
        let mut progress = testing::progress();
        progress.lost_processes = 2;
        screen.take(&progress);
        assert!(drawn(&screen, 80, 24).contains("2 worker processes are lost"));
        progress.generator.lost = 17;
        screen.take(&progress);
        assert!(drawn(&screen, 80, 24).contains("17 operations could not be recorded"));
    }

    #[test]
    fn tiny_terminals_and_empty_runs_can_be_drawn() {
        let mut screen = Screen::default();
        for (width, height) in [(1, 1), (10, 3), (40, 10), (200, 60)] {
            assert!(!drawn(&screen, width, height).is_empty());
        }
        screen.take(&testing::progress());
        for (width, height) in [(1, 1), (10, 3), (40, 10), (200, 60)] {
            assert!(!drawn(&screen, width, height).is_empty());
        }
    }
}
