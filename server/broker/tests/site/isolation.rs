//! What a session has of its person, and what it has not of anybody else.

use std::collections::HashMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use heliostat_broker::passing;
use heliostat_control::hex::Hex;
use heliostat_control::lines;
use heliostat_control::session::{FromSession, Ready};
use heliostat_wire::control::DetachReason;
use nix::unistd::{Uid, User};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::broker::{Broker, alive, eventually, lent_small_session, people, small_session};
use crate::terminal::{DEADLINE, within};

fn is_root() -> bool {
    let is_root = Uid::effective().is_root();
    if !is_root {
        eprintln!("skipped: only root starts other people's sessions");
    }
    is_root
}

/// Runs `script` as the first person's session; what it writes into `$XDG_RUNTIME_DIR/probe`, and
/// the broker.
async fn probe(prefix: &[&str], script: &str) -> (Broker, String) {
    let script = format!(
        "umask > $XDG_RUNTIME_DIR/umask; ({script}) > $XDG_RUNTIME_DIR/partial 2>&1; \
         mv $XDG_RUNTIME_DIR/partial $XDG_RUNTIME_DIR/probe; exec sleep 1000"
    );
    let broker = Broker::behind(prefix, "/bin/sh", "", &["-c", &script]);
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    terminal.insert("c1").await;
    let user = User::from_name(&people()[0]).unwrap().unwrap();
    let folder = broker.folder().join(format!("run/user/{}", user.uid));
    eventually("the session looks around", || folder.join("probe").exists()).await;
    let umask = std::fs::read_to_string(folder.join("umask")).unwrap();
    assert_eq!(umask.trim(), "0027", "as pam_umask has it");
    let said = std::fs::read_to_string(folder.join("probe")).unwrap();
    (broker, said)
}

/// A broker behind this is started with much that is nobody else's.
const STARTS_ODDLY: &str = "echo -500 2>/dev/null > /proc/self/oom_score_adj; exec 9</etc/shadow; umask 0; \
                            export BROKERS_SECRET=1; ulimit -c unlimited; \
                            exec nice -n -5 setpriv --inh-caps +net_raw --groups 0,1,2 \"$@\"";

#[tokio::test]
async fn a_hook_has_nothing_of_what_the_broker_was_started_with() {
    if !is_root() {
        return;
    }
    let small = small_session().display().to_string();
    let broker = Broker::behind(&["sh", "-c", STARTS_ODDLY, "sh"], &small, "", &[]);
    let notes = broker.folder().join("notes");
    std::fs::create_dir(&notes).unwrap();
    std::fs::set_permissions(&notes, PermissionsExt::from_mode(0o777)).unwrap();
    let script = format!(
        "cd {} && (grep -E '^(Cap|Groups|Umask)' /proc/self/status; \
         echo Oom: $(cat /proc/self/oom_score_adj); echo Nice: $(nice); \
         echo Fds: $(ls /proc/$$/fd); echo Secret: $BROKERS_SECRET) > partial; mv partial probe",
        notes.display()
    );
    let policy =
        format!("[default]\nproof = \"none\"\non_attach = [\"/bin/sh\", \"-c\", {script:?}]\n");
    std::fs::write(broker.folder().join("policy.toml"), policy).unwrap();
    eventually("the policy is read", || {
        broker.audited("policy_changed") == 1
    })
    .await;
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    let _desktop = terminal.desktop("c1").await;
    eventually("the hook looks around", || notes.join("probe").exists()).await;
    let said = std::fs::read_to_string(notes.join("probe")).unwrap();
    let lines = said.lines().filter_map(|line| line.split_once(':'));
    let lines: HashMap<&str, &str> = lines.map(|(name, value)| (name, value.trim())).collect();
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(lines[set], "0000000000000000", "{set}");
    }
    let user = User::from_name(&people()[0]).unwrap().unwrap();
    assert_eq!(lines["Groups"], user.gid.to_string());
    assert_eq!(
        (lines["Umask"], lines["Oom"], lines["Nice"]),
        ("0022", "0", "0")
    );
    assert_eq!((lines["Fds"], lines["Secret"]), ("0 1 2", ""));
}

#[tokio::test]
async fn a_session_has_nothing_of_what_the_broker_was_started_with() {
    if !is_root() {
        return;
    }
    let prefix = ["sh", "-c", STARTS_ODDLY, "sh"];
    let script = "cat /proc/self/status; echo Oom: $(cat /proc/self/oom_score_adj); \
                  echo Stat: $(sed 's/.*) //' /proc/self/stat); echo Fds: $(ls /proc/$$/fd); \
                  echo Keys: $(cut -d' ' -f 6- /proc/keys); echo Core: $(ulimit -c); \
                  echo Secret: $BROKERS_SECRET; (echo Tty: some < /dev/tty) 2>/dev/null || echo Tty: none";
    let (_broker, said) = probe(&prefix, script).await;
    let lines = said.lines().filter_map(|line| line.split_once(':'));
    let lines: HashMap<&str, &str> = lines.map(|(name, value)| (name, value.trim())).collect();
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(lines[set], "0000000000000000", "{set}");
    }
    // The bounding set is an ordinary login's: all that this machine's processes start with.
    let ours = std::fs::read_to_string("/proc/self/status").unwrap();
    let bounding = ours.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    assert_eq!(lines["CapBnd"], bounding.unwrap().trim());
    let user = User::from_name(&people()[0]).unwrap().unwrap();
    assert_eq!(lines["Groups"], user.gid.to_string());
    for nothing in ["SigBlk", "SigCgt"] {
        assert_eq!(lines[nothing], "0000000000000000", "{nothing}");
    }
    assert_eq!(
        (lines["NoNewPrivs"], lines["Oom"], lines["Core"]),
        ("0", "0", "0")
    );
    assert_eq!(lines["Secret"], "");
    assert_eq!(lines["Tty"], "none");
    let stat: Vec<&str> = lines["Stat"].split(' ').collect();
    // Fields 7, 19 and 41 of proc(5), of which the first here is the third.
    assert_eq!(
        (stat[4], stat[16], stat[38]),
        ("0", "0", "0"),
        "tty, nice, policy"
    );
    // Its standard files and the socket; dash opens scripts and terminals at 10.
    assert_eq!(lines["Fds"], "0 1 2 3");
    let keys = lines["Keys"];
    assert!(!keys.contains("_uid.0"), "{keys}");
}

#[tokio::test]
async fn a_runtime_folder_has_a_limit_of_its_own_and_is_gone_with_the_session() {
    if !is_root() {
        return;
    }
    let (broker, said) = probe(&[], "stat -f -c '%T %S %b %c' $XDG_RUNTIME_DIR").await;
    let fields: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(fields[0], "tmpfs", "{said}");
    let number = |field: usize| fields[field].parse::<u64>().unwrap();
    let memory = nix::sys::sysinfo::sysinfo().unwrap().ram_total();
    let bytes = number(1) * number(2);
    assert!(
        bytes > 0 && bytes <= memory / 10 + 4096,
        "{bytes} of {memory}"
    );
    assert!(
        number(3) > 0 && number(3) <= memory / 10 / 4096 + 1,
        "files have a limit, too"
    );
    let user = broker.folder().join("run/user");
    broker.ask(heliostat_control::admin::Request::SessionEnd {
        session: people()[0].clone(),
    });
    eventually("nothing is left", || {
        std::fs::read_dir(&user).unwrap().count() == 0
    })
    .await;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&user.display().to_string()));
}

#[tokio::test]
async fn one_person_reaches_no_folder_socket_or_memory_of_another() {
    if !is_root() {
        return;
    }
    let [victim, attacker] = people();
    let (_lent, small) = lent_small_session();
    let small = small.display();
    // The second person's session attacks the first's, whose number is in a file by then.
    let script = format!(
        "if [ $USER = {victim} ]; then exec {small} \"$@\"; fi; cd $XDG_RUNTIME_DIR; \
         until [ -e go ]; do sleep 0.05; done; read pid uid folder < go; \
         try() {{ if \"$@\" > /dev/null 2>&1; then echo \"REACHED: $*\"; else echo kept; fi; }}; \
         exec > partial 2>&1; \
         try ls $folder/run/user/$uid; try touch $folder/run/user/$uid/x; \
         try ls $folder/run/sessions; try ls $folder/state; try cat $folder/run/admin.sock; \
         try cat /proc/$pid/environ; try ls /proc/$pid/fd; try cat /proc/$pid/maps; \
         try dd if=/proc/$pid/mem bs=1 count=1; try kill -0 $pid; try kill -9 $pid; \
         try dd if=/dev/null of=/proc/$pid/mem; try ls /proc/$pid/root; \
         for p in $(pgrep -f '[p]am-worker'); do try kill -0 $p; try cat /proc/$p/environ; \
             try dd if=/proc/$p/mem bs=1 count=1; done; \
         try mv $folder/run/user/$uid $folder/run/user/mine; mv partial done; exec sleep 1000"
    );
    let broker = Broker::with_session_command("/bin/sh", "", &["-c", &script, "sh"]);
    broker.add_card("c1", &victim);
    broker.add_card("c2", &attacker);
    let (mut a, mut b) = (broker.terminal("a").await, broker.terminal("b").await);
    let _desktop = a.desktop("c1").await;
    let session = broker.sessions().remove(0);
    b.insert("c2").await;
    let attackers = User::from_name(&attacker).unwrap().unwrap().uid;
    let folder = broker.folder().join(format!("run/user/{attackers}"));
    eventually("the attacker is there", || folder.exists()).await;
    let order = format!(
        "{} {} {}",
        session.pid,
        session.uid,
        broker.folder().display()
    );
    eventually("the attacker's folder is there", || {
        folder.metadata().unwrap().uid() == attackers.as_raw()
            && std::fs::write(folder.join("go.partial"), &order).is_ok()
            && is_mounted(&folder)
    })
    .await;
    std::fs::write(folder.join("go.partial"), order).unwrap();
    std::fs::rename(folder.join("go.partial"), folder.join("go")).unwrap();
    eventually("the attack is over", || folder.join("done").exists()).await;
    let said = std::fs::read_to_string(folder.join("done")).unwrap();
    assert!(said.lines().count() >= 20, "{said}");
    assert!(said.lines().all(|line| line == "kept"), "{said}");
    assert!(alive(session.pid));
}

fn is_mounted(folder: &Path) -> bool {
    let parent = folder.parent().unwrap().metadata().unwrap().dev();
    folder.metadata().unwrap().dev() != parent
}

/// A folder that every session reaches.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    folder
}

#[tokio::test]
async fn a_session_that_says_it_is_another_is_not_believed() {
    let lies = open_folder();
    let claim = lies.path().join("attach");
    let broker = Broker::with("", &["--claim", claim.to_str().unwrap()]);
    let [victim, liar] = people();
    broker.add_card("c1", &victim);
    broker.add_card("c2", &liar);
    let (mut a, mut b) = (broker.terminal("a").await, broker.terminal("b").await);
    let mut desktop = a.desktop("c1").await;
    if victim == liar {
        return eprintln!("skipped: only root starts other people's sessions");
    }
    std::fs::write(&claim, desktop.attach_id.0.to_string()).unwrap();
    let _own = b.desktop("c2").await;
    // Its lies come before its answer.
    eventually("both have said how they are", || {
        let sessions = broker.sessions();
        sessions.len() == 2 && sessions.iter().all(|row| row.stats.is_some())
    })
    .await;
    for (person, terminal) in [(&victim, "desk a"), (&liar, "desk b")] {
        let sessions = broker.sessions();
        let row = sessions.iter().find(|row| row.person == *person).unwrap();
        assert_eq!(row.terminal.as_deref(), Some(terminal), "{row:?}");
    }
    assert_eq!(broker.audited("first_frame"), 0);
    assert_eq!(broker.audited("detached"), 0);
    a.silence().await;
    a.pull().await;
    assert_eq!(desktop.bye().await, DetachReason::CardRemoved);
}

#[tokio::test]
async fn nobody_else_speaks_on_the_socket_that_a_session_was_given() {
    let folder = open_folder();
    let place = folder.path().join("heir.sock");
    let heir = tokio::net::UnixListener::bind(&place).unwrap();
    std::fs::set_permissions(&place, PermissionsExt::from_mode(0o777)).unwrap();
    let broker = Broker::with("", &["--hand-over", place.to_str().unwrap()]);
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    terminal.insert("c1").await;
    // The session hands its socket to this process, which is another's.
    let (from, _) = within(heir.accept()).await.unwrap();
    let from = from.into_std().unwrap();
    from.set_nonblocking(false).unwrap();
    from.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut fds = Vec::new();
    passing::receive(&from, &mut [0; 16], &mut fds).unwrap();
    let listener = UnixListener::from(fds.remove(0));
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::UnixListener::from_std(listener).unwrap();
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    let ready = FromSession::Ready(Ready {
        pid: 1,
        uid: 0,
        port: 1,
        spki_sha256: Hex([7; 32]),
        wayland_display: String::new(),
        attached: None,
    });
    stream.write_all(&lines::encode(&ready)).await.unwrap();
    let mut answer = Vec::new();
    // Closed with something unread is an error, too.
    let _ = within(stream.read_to_end(&mut answer)).await;
    assert_eq!(String::from_utf8(answer).unwrap(), "", "it is told nothing");
    assert_eq!(broker.sessions()[0].port, None, "and not believed");
}
