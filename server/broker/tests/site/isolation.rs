//! What a session has of its person, and what it has not of anybody else.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Uid, User};

use crate::broker::{Broker, alive, eventually, lent_small_session, people};
use crate::terminal::within;

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

#[tokio::test]
async fn a_session_has_nothing_of_what_the_broker_was_started_with() {
    if !is_root() {
        return;
    }
    let starts_oddly = "echo -500 2>/dev/null > /proc/self/oom_score_adj; exec 9</etc/shadow; umask 0; \
                        export BROKERS_SECRET=1; ulimit -c unlimited; \
                        exec nice -n -5 setpriv --inh-caps +net_raw --groups 0,1,2 \"$@\"";
    let prefix = ["sh", "-c", starts_oddly, "sh"];
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

#[tokio::test]
async fn a_session_that_says_it_is_another_is_not_believed() {
    let broker = Broker::with("", &["--claim-root"]);
    let [person, _] = people();
    broker.add_card("c1", &person);
    let mut terminal = broker.terminal("a").await;
    terminal.insert("c1").await;
    let attach = terminal.attach().await;
    within(terminal.join(&attach)).await.unwrap();
    let session = broker.sessions().remove(0);
    assert_ne!(session.pid, 1);
    let uid = User::from_name(&person).unwrap().unwrap().uid.as_raw();
    assert_eq!((session.uid, session.person), (uid, person));
    assert!(alive(session.pid));
}
