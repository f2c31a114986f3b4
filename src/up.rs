//! All roles in one process, with no configuration and no broker, and an ordered end: the collector
//! first, then the sink, which commits what is pending.

use std::time::{Duration, Instant};

use driftline_sink::Counts;

use crate::cli::Settings;
use crate::exit::Outcome;
use crate::roles::{self, join};
use crate::stopping::Stopping;
use crate::{live, optimize};

/// What the roles of one `up` came to.
pub(crate) struct Totals {
    pub(crate) collected: driftline_collector::Summary,
    pub(crate) committed: Counts,
}

/// The running roles.
pub(crate) struct Up {
    stopping: Stopping,
    collector: roles::Running<driftline_collector::Summary>,
    sink: roles::Running<Counts>,
    live: Option<roles::Running<()>>,
    optimizer: Option<roles::Running<()>>,
}

impl Up {
    /// Starts the live look, the sink, then the collector.
    pub(crate) fn start(settings: &Settings, stopping: Stopping) -> anyhow::Result<Self> {
        let (config, data) = (&settings.config, settings.data.as_path());
        roles::prepare(data)?;
        let live = live::start(settings, &stopping.collector)?;
        let sink = roles::start_sink(config, data, &stopping)?;
        let collector = match roles::start_collector(config, data, &stopping) {
            Ok(collector) => collector,
            Err(error) => {
                stopping.collector.request();
                stopping.stop_sink();
                join(sink)?;
                return Err(error);
            }
        };
        let optimizer = optimize::start(settings, &stopping.collector)?;
        Ok(Self {
            stopping,
            collector,
            sink,
            live,
            optimizer,
        })
    }

    /// Waits until a stop is requested, at most this long; says whether it was.
    pub(crate) fn wait(&self, at_most: Duration) -> bool {
        self.stopping.collector.wait(at_most)
    }

    /// Ends the collector, then the sink, and says what they did.
    pub(crate) fn stop(self) -> anyhow::Result<Totals> {
        self.stopping.collector.request();
        let collected = join(self.collector);
        // Its last events are committed, too.
        let looked = self.live.map(join).transpose();
        let optimized = self.optimizer.map(join).transpose();
        self.stopping.stop_sink();
        let committed = join(self.sink);
        looked?;
        optimized?;
        Ok(Totals {
            collected: collected?,
            committed: committed?,
        })
    }
}

/// `driftline up`.
pub(crate) fn run(settings: &Settings) -> anyhow::Result<Outcome> {
    run_with(settings, Stopping::on_signals()?)
}

/// The same with signals that are heard already.
pub(crate) fn run_with(settings: &Settings, stopping: Stopping) -> anyhow::Result<Outcome> {
    let begun = Instant::now();
    let up = Up::start(settings, stopping)?;
    eprintln!(
        "collecting this host every second into {}\n\
         in a second terminal: driftline query \"select metric, count(*), avg(value) from samples \
         where ts > now() - interval '10 seconds' group by metric\"\n\
         Ctrl-C stops it and commits what is pending",
        settings.data.display()
    );
    while !up.wait(Duration::from_secs(60)) {}
    let totals = up.stop()?;
    eprintln!(
        "stopped after {} s: {} ticks, {} missed, {} samples collected; {} rows in {} commits",
        begun.elapsed().as_secs(),
        totals.collected.ticks,
        totals.collected.missed,
        totals.collected.samples,
        totals.committed.rows,
        totals.committed.commits
    );
    Ok(Outcome::Ok)
}
