//! The live view: a screen of its own that is left as it was found, whatever ends the run.

mod draw;

use std::collections::VecDeque;
use std::io::{self, Stderr};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use super::progress::{Progress, View, Wish};

/// Seconds that the sparklines go back.
const HISTORY: usize = 120;
/// Keys read at a time, so that a stuck key cannot hold up the run.
const MAX_KEYS: usize = 32;

/// What is drawn.
#[derive(Debug, Default)]
struct Screen {
    progress: Progress,
    /// Answers per second, the newest last.
    rates: VecDeque<u64>,
    /// 95th percentiles in µs, the newest last.
    p95s_us: VecDeque<u64>,
}

impl Screen {
    fn take(&mut self, progress: &Progress) {
        let p95_us = progress.recent.p95_ns.unwrap_or(0) / 1_000;
        let rate = progress.rate_per_s.round() as u64;
        for (history, value) in [(&mut self.rates, rate), (&mut self.p95s_us, p95_us)] {
            if history.len() == HISTORY {
                history.pop_front();
            }
            history.push_back(value);
        }
        self.progress = progress.clone();
    }
}

/// Shows a run in the terminal's alternate screen, on standard error; `q`, Escape and Ctrl-C stop
/// the run. Dropping it gives the terminal back.
#[derive(Debug)]
pub struct LiveView {
    terminal: Terminal<CrosstermBackend<Stderr>>,
    screen: Screen,
    has_failed: bool,
}

impl LiveView {
    /// Takes the terminal. A panic gives it back before it is told.
    pub fn new() -> io::Result<Self> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
        }));
        enable_raw_mode()?;
        let made = execute!(io::stderr(), EnterAlternateScreen)
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stderr())));
        match made {
            Ok(terminal) => Ok(Self {
                terminal,
                screen: Screen::default(),
                has_failed: false,
            }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    fn redraw(&mut self) {
        if self.has_failed {
            return;
        }
        let screen = &self.screen;
        if let Err(error) = self.terminal.draw(|frame| draw::draw(frame, screen)) {
            self.has_failed = true;
            tracing::warn!(%error, "the live view cannot be drawn any more");
        }
    }
}

impl Drop for LiveView {
    fn drop(&mut self) {
        restore();
    }
}

impl View for LiveView {
    fn show(&mut self, progress: &Progress) {
        self.screen.take(progress);
        self.redraw();
    }

    fn poll(&mut self) -> Wish {
        for _ in 0..MAX_KEYS {
            match event::poll(Duration::ZERO).and_then(|ready| ready.then(event::read).transpose())
            {
                Ok(None) => break,
                Ok(Some(Event::Key(key))) if wish(key) == Wish::Stop => return Wish::Stop,
                Ok(Some(Event::Resize(..))) => self.redraw(),
                Ok(Some(_)) => {}
                Err(error) => {
                    tracing::debug!(%error, "keys cannot be read");
                    break;
                }
            }
        }
        Wish::GoOn
    }
}

/// What a key means. In a raw terminal Ctrl-C is a key like others.
fn wish(key: KeyEvent) -> Wish {
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Wish::Stop,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Wish::Stop,
        _ => Wish::GoOn,
    }
}

/// Gives the terminal back. Both steps are tried; a terminal that is gone needs neither.
fn restore() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stderr(), LeaveAlternateScreen);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_keys_stop_and_others_do_not() {
        let key = |code, modifiers| wish(KeyEvent::new(code, modifiers));
        let none = KeyModifiers::NONE;
        assert_eq!(key(KeyCode::Char('q'), none), Wish::Stop);
        assert_eq!(key(KeyCode::Esc, none), Wish::Stop);
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Wish::Stop);
        assert_eq!(key(KeyCode::Char('c'), none), Wish::GoOn);
        assert_eq!(key(KeyCode::Enter, none), Wish::GoOn);
    }

    #[test]
    fn history_is_bounded() {
        let mut screen = Screen::default();
        for _ in 0..3 * HISTORY {
            screen.take(&crate::run::testing::progress());
        }
        assert_eq!(
            (screen.rates.len(), screen.p95s_us.len()),
            (HISTORY, HISTORY)
        );
        assert_eq!(screen.rates.back(), Some(&498));
        assert_eq!(screen.p95s_us.back(), Some(&8_000));
    }
}
