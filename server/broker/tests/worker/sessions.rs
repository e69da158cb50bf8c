//! Sessions that a worker runs.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use heliostat_broker::worker::Worker;
use heliostat_control::worker::{
    Credential, Failure, FromWorker, Limits, SessionKind, StartSession, ToWorker,
};
use heliostat_wire::id::SessionId;
use nix::unistd::Uid;

use crate::site::{Site, begin, failed, probe_rules};

/// A session that is a shell script, and what it writes.
struct Script {
    worker: Worker,
    started: FromWorker,
    log: std::fs::File,
}

async fn run(site: &Site, script: &str, min_uid: u32) -> Script {
    let mut worker = site.workers.start().unwrap();
    worker.admit(begin(Credential::Card)).await.unwrap();
    let folder = site.folder.path().join("sessions/07");
    let dirs = site.folder.path().join("user");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::create_dir_all(&dirs).unwrap();
    // People have to find their runtime folder below.
    for path in [site.folder.path(), &dirs] {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(path, open).unwrap();
    }
    let listener = UnixListener::bind(folder.join("session.sock")).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let start = StartSession {
        bound_to: String::new(),
        session: SessionId(getrandom()),
        session_kind: SessionKind::Desktop,
        person: "the broker's name".to_owned(),
        min_uid,
        uid: None,
        folder,
        runtime_dirs: dirs,
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        environment: vec![("PROBE".to_owned(), "1".to_owned())],
        limits: Limits::default(),
    };
    let start = ToWorker::Start(Box::new(start));
    worker
        .say_with(&start, &[listener.as_fd(), writer.as_fd()])
        .await;
    let started = worker.hear().await;
    let log = std::fs::File::from(std::os::fd::OwnedFd::from(reader));
    Script {
        worker,
        started,
        log,
    }
}

fn getrandom() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

impl Script {
    fn says(&mut self) -> String {
        let mut text = String::new();
        self.log.read_to_string(&mut text).unwrap();
        text
    }
}

#[tokio::test]
async fn the_pam_session_is_closed_by_the_handle_that_opened_it_when_the_session_is_over() {
    let site = Site::of_probe("");
    let rules = probe_rules(&format!("notes={}", site.notes().display()));
    std::fs::write(site.folder.path().join("pam.d/heliostat"), rules).unwrap();
    let mut script = run(
        &site,
        "echo $PROBE_CLASS $PROBE $XDG_RUNTIME_DIR; exit 7",
        0,
    )
    .await;
    assert!(
        matches!(script.started, FromWorker::Started { .. }),
        "{:?}",
        script.started
    );
    let ended = script.worker.hear().await;
    assert_eq!(
        ended,
        FromWorker::Ended {
            code: Some(7),
            signal: None
        }
    );
    script.worker.gone().await;
    let mut text = String::new();
    script.log.read_to_string(&mut text).unwrap();
    if !Uid::effective().is_root() {
        return eprintln!("skipped: only root opens PAM sessions");
    }
    let uid = nix::unistd::User::from_name(&crate::site::person())
        .unwrap()
        .unwrap()
        .uid;
    let runtime_dir = site.folder.path().join(format!("user/{uid}"));
    assert_eq!(text, format!("user 1 {}\n", runtime_dir.display()));
    let notes = std::fs::read_to_string(site.notes()).unwrap();
    let expected = "establish credentials\nopen session\nclose session\ndelete credentials\n";
    assert_eq!(notes, expected);
}

#[tokio::test]
async fn what_a_session_leaves_running_ends_with_it_however_it_hides() {
    let site = Site::of_probe("");
    // One that lost its parent, in a session and group of its own; one that ignores being asked.
    let leaves =
        "setsid sh -c 'sh -c \"trap \\\"\\\" TERM HUP; echo $$; sleep 1000\" & echo $!' ; exit 0";
    let mut script = run(&site, leaves, 0).await;
    let ended = script.worker.hear().await;
    assert_eq!(
        ended,
        FromWorker::Ended {
            code: Some(0),
            signal: None
        }
    );
    // The pipe ends with the last process that could write to it.
    let pids: Vec<u32> = script
        .says()
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert!(!pids.is_empty());
    for pid in pids {
        assert!(!std::path::Path::new(&format!("/proc/{pid}/exe")).exists());
    }
    script.worker.gone().await;
}

/// As whoever `pkill -RTMIN+1` meets unprepared.
#[tokio::test]
async fn real_time_signals_end_nothing_but_whom_they_are_sent_to() {
    let ended = async |script: &str| {
        let site = Site::of_probe("");
        let mut script = run(&site, script, 0).await;
        let ended = script.worker.hear().await;
        script.worker.gone().await;
        ended
    };
    // The one that ends has lost its parent, so that the worker buries it.
    let beside = "d=$(mktemp -d); mkfifo $d/go; \
        (sh -c \"echo \\$\\$ >$d/pid; read line <$d/go; kill -40 \\$\\$\" &); echo >$d/go; \
        pid=$(cat $d/pid); rm -r $d; while [ -e /proc/$pid ]; do sleep 0.01; done; exit 5";
    let expected = FromWorker::Ended {
        code: Some(5),
        signal: None,
    };
    assert_eq!(ended(beside).await, expected);
    let expected = FromWorker::Ended {
        code: None,
        signal: Some(40),
    };
    assert_eq!(ended("kill -40 $$").await, expected);
}

#[tokio::test]
async fn a_session_has_a_control_group_of_its_own_that_is_gone_with_it() {
    let site = Site::of_probe("");
    let mut script = run(&site, "cat /proc/self/cgroup", 0).await;
    let FromWorker::Started { without, .. } = &script.started else {
        panic!("{:?}", script.started);
    };
    if without.iter().any(|what| what.contains("control groups")) {
        return eprintln!("skipped: sessions here do without {without:?}");
    }
    if heliostat_broker::control_group::systemd::runs() {
        return eprintln!("skipped: systemd has the groups here");
    }
    script.worker.hear().await;
    script.worker.gone().await;
    let mut groups = String::new();
    script.log.read_to_string(&mut groups).unwrap();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let group = group.unwrap();
    assert!(group.contains("heliostat.slice/session-"), "{group}");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let mount = mount.unwrap().split(' ').nth(4).unwrap();
    assert!(!std::path::Path::new(&format!("{mount}{group}")).exists());
}

#[tokio::test]
async fn a_system_account_gets_no_session_whoever_has_authenticated_it() {
    let site = Site::of_probe("");
    let mut script = run(&site, "true", 4_000_000_000).await;
    let (why, text) = failed(script.started.clone());
    assert_eq!(why, Failure::Locked);
    assert!(text.contains("system account"), "{text}");
    assert_eq!(script.says(), "");
}

#[tokio::test]
async fn a_session_runs_on_without_its_broker_and_its_worker_sees_it_to_its_end() {
    let site = Site::of_probe("");
    let mut script = run(&site, "echo up; exec sleep 1000", 0).await;
    let FromWorker::Started { pid, .. } = script.started else {
        panic!("{:?}", script.started);
    };
    // A worker outlives the broker's end of the socket once the session runs.
    let process = heliostat_broker::process::Process::watch(pid).unwrap();
    let worker = heliostat_broker::process::Process::watch(script.worker.pid().unwrap()).unwrap();
    let mut up = [0; 3];
    script.log.read_exact(&mut up).unwrap();
    drop(script.worker);
    assert!(std::path::Path::new(&format!("/proc/{pid}/exe")).exists());
    process.kill();
    worker.exited().await;
}
