use super::super::job::tests::spec;
use super::*;

fn job(cron: &str, zone: &str, catch_up: CatchUp) -> Job {
    let mut spec = spec("nightly", cron);
    spec.zone = zone.to_owned();
    spec.catch_up = catch_up;
    Job::new(spec).expect("job")
}

fn installation() -> Installation {
    Installation {
        binary: "/usr/local/bin/driftline".to_owned(),
        data: "/srv/drift line/100%".to_owned(),
        config: Some("/etc/driftline.toml".to_owned()),
        image: "driftline:0.1.0".to_owned(),
    }
}

#[test]
fn expressions_become_calendars() {
    for (cron, calendar) in [
        ("30 2 * * *", "OnCalendar=*-*-* 02:30:00 Europe/Berlin\n"),
        (
            "*/15 9-17 * * mon-fri",
            "OnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 09,10,11,12,13,14,15,16,17:00,15,30,45:00 Europe/Berlin\n",
        ),
        (
            "0 0 1 */3 *",
            "OnCalendar=*-01,04,07,10-01 00:00:00 Europe/Berlin\n",
        ),
        ("* * * * *", "OnCalendar=*-*-* *:*:00 Europe/Berlin\n"),
        (
            "0 6 1,15 * 7",
            "OnCalendar=*-*-01,15 06:00:00 Europe/Berlin\nOnCalendar=Sun *-*-* 06:00:00 Europe/Berlin\n",
        ),
        (
            "0 6 1-7 * +1",
            "OnCalendar=Mon *-*-01,02,03,04,05,06,07 06:00:00 Europe/Berlin\n",
        ),
        ("@weekly", "OnCalendar=Sun *-*-* 00:00:00 Europe/Berlin\n"),
    ] {
        let job = job(cron, "Europe/Berlin", CatchUp::Last);
        assert_eq!(on_calendar(&job).expect("a calendar"), calendar, "{cron}");
    }
}

#[test]
fn expressions_become_what_a_cron_job_takes() {
    for (cron, schedule) in [
        ("30 2 * * *", "30 2 * * *"),
        ("*/15 9-11 * * 7", "0,15,30,45 9,10,11 * * Sun"),
        ("@weekly", "0 0 * * Sun"),
        ("0 6 1,15 * mon", "0 6 1,15 * Mon"),
        ("0 6 1-31 * mon", "0 6 * * *"),
        ("0 6 15 * 0-6", "0 6 * * *"),
    ] {
        let job = job(cron, "UTC", CatchUp::Last);
        assert_eq!(five_fields(&job).expect("a schedule"), schedule, "{cron}");
    }
}

#[test]
fn a_timer_calls_the_scheduler_once_for_its_job() {
    let text = systemd(&[job("30 2 * * *", "UTC", CatchUp::Last)], &installation()).expect("units");
    for line in [
        "# /etc/systemd/system/driftline-nightly.service",
        "ExecStart=/usr/local/bin/driftline schedule --once --job nightly --data \"/srv/drift line/100%%\" --config /etc/driftline.toml",
        "# /etc/systemd/system/driftline-nightly.timer",
        "OnCalendar=*-*-* 02:30:00 UTC",
        "Persistent=true",
        "# systemctl daemon-reload && systemctl enable --now driftline-nightly.timer",
    ] {
        assert!(
            text.lines().any(|told| told == line),
            "{line} is not in\n{text}"
        );
    }
    let text = systemd(&[job("30 2 * * *", "UTC", CatchUp::None)], &installation()).expect("units");
    assert!(text.contains("Persistent=false"), "{text}");
}

#[test]
fn a_cron_job_keeps_its_data_on_a_claim_and_its_retries_to_us() {
    let jobs = [
        job("30 2 * * *", "Europe/Berlin", CatchUp::None),
        job("0 * * * *", "UTC", CatchUp::All),
    ];
    let text = kubernetes(&jobs, &installation()).expect("a manifest");
    for line in [
        "  schedule: \"30 2 * * *\"",
        "  timeZone: \"Europe/Berlin\"",
        "  concurrencyPolicy: Forbid",
        "  startingDeadlineSeconds: 300",
        "      backoffLimit: 0",
        "              args: [\"schedule\", \"--once\", \"--job\", \"nightly\", \"--data\", \"/var/lib/driftline\", \"--config\", \"/etc/driftline/driftline.toml\"]",
        "            - { name: data, persistentVolumeClaim: { claimName: driftline-data } }",
        "            - { name: config, configMap: { name: driftline-config } }",
    ] {
        assert!(
            text.lines().any(|told| told == line),
            "{line} is not in\n{text}"
        );
    }
    assert_eq!(
        text.matches("startingDeadlineSeconds").count(),
        1,
        "only without catching up"
    );
    assert_eq!(text.matches("kind: CronJob").count(), 2);
}

#[test]
fn what_others_cannot_say_is_refused_with_a_remedy() {
    for cron in ["0 0 L * *", "0 0 15W * *", "0 0 * * 5#2", "0 0 * * 5L"] {
        let job = job(cron, "UTC", CatchUp::Last);
        let jobs = std::slice::from_ref(&job);
        for refused in [
            systemd(jobs, &installation()),
            kubernetes(jobs, &installation()),
        ] {
            let error = refused.expect_err(cron);
            assert!(error.to_string().contains("list the days"), "{error}");
        }
    }
    let both = job("0 0 1-7 * +1", "UTC", CatchUp::Last);
    let error = kubernetes(&[both], &installation()).expect_err("both");
    assert!(error.to_string().contains("drop the +"), "{error}");
}

#[test]
fn words_are_quoted_as_units_need_it() {
    assert_eq!(systemd_word("/a/b-c.d"), "/a/b-c.d");
    assert_eq!(systemd_word(""), "\"\"");
    assert_eq!(
        systemd_word("a \"b\" \\ $c %d"),
        "\"a \\\"b\\\" \\\\ $$c %%d\""
    );
}
