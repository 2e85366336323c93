#![allow(unsafe_code, missing_docs)]
use buntime_sandbox::*;
use std::fs;
use std::io::Read;
use std::time::{Duration, Instant};
fn kthreads() -> f64 {
    let mut sum = 0.0;
    for e in fs::read_dir("/proc").unwrap().flatten() {
        let n = e.file_name();
        let n = n.to_string_lossy();
        if !n.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let Ok(stat) = fs::read_to_string(format!("/proc/{n}/stat")) else {
            continue;
        };
        let Some((_, rest)) = stat.rsplit_once(") ") else {
            continue;
        };
        if rest.split(' ').nth(1) != Some("2") {
            continue;
        }
        if let Ok(s) = fs::read_to_string(format!("/proc/{n}/schedstat")) {
            sum += s.split(' ').next().unwrap().parse::<f64>().unwrap_or(0.0) / 1e6;
        }
    }
    sum
}
fn cpu(who: i32) -> f64 {
    unsafe {
        let mut r: libc::rusage = std::mem::zeroed();
        libc::getrusage(who, &mut r);
        (r.ru_utime.tv_sec + r.ru_stime.tv_sec) as f64 * 1e3
            + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) as f64 / 1e3
    }
}
#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (n, gap): (usize, u64) = (a[2].parse().unwrap(), a[3].parse().unwrap());
    let program = a[4].clone();
    let args: Vec<String> = a[5..].to_vec();
    let dir = tempfile::tempdir().unwrap();
    for s in ["stage", "slot"] {
        fs::create_dir(dir.path().join(s)).unwrap();
    }
    let launcher = Launcher::start().unwrap();
    let full = Layers {
        landlock: Some(Landlock(7)),
        calls: true,
        namespaces: Some(ProcMount::Own),
        network: true,
        broker: false,
    };
    let k = Layers {
        namespaces: None,
        network: false,
        broker: true,
        ..full
    };
    let l = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = l.local_addr().unwrap().port();
    std::thread::spawn(move || {
        loop {
            let _ = l.accept();
        }
    });
    let (layers, net) = match a[1].as_str() {
        "off" => (Layers::NONE, Net::Host),
        "host" => (full, Net::Host),
        "private" => (full, Net::Private),
        "gateway" => (full, Net::Gateway { port: 80 }),
        "k" => (k, Net::Host),
        "kports" => (Layers { broker: false, ..k }, Net::Ports(vec![port])),
        "broker" => (k, Net::Loopback { port }),
        _ => panic!(),
    };
    let (mut t, k0, c0, s0) = (
        vec![],
        kthreads(),
        cpu(libc::RUSAGE_CHILDREN),
        cpu(libc::RUSAGE_SELF),
    );
    for _ in 0..n {
        let begin = Instant::now();
        let launch = Launch {
            program: program.clone().into(),
            args: args
                .iter()
                .map(|a| a.replace("PORT", &port.to_string()).into())
                .collect(),
            env: vec![("HOME".into(), dir.path().join("slot").into())],
            cwd: dir.path().join("slot"),
            control: fs::File::open("/dev/null").unwrap().into(),
            limits: ProcessLimits::default(),
            nice: 0,
            policy: (layers != Layers::NONE).then(|| Policy {
                layers,
                net: net.clone(),
                read: vec![],
                write: vec![dir.path().join("slot")],
                write_later: vec![],
                stage: dir.path().join("stage"),
            }),
        };
        let mut p = launcher.spawn(launch).await.unwrap();
        if gap == 0 {
            let mut text = String::new();
            let mut out = fs::File::from(p.stdout.take().unwrap());
            let text = tokio::task::spawn_blocking(move || {
                out.read_to_string(&mut text).unwrap();
                text
            })
            .await
            .unwrap();
            print!("{text}");
        }
        p.wait().await;
        t.push(begin.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(gap).saturating_sub(begin.elapsed())).await;
    }
    let (c1, s1) = (cpu(libc::RUSAGE_CHILDREN), cpu(libc::RUSAGE_SELF));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let k1 = kthreads();
    t.sort_by(f64::total_cmp);
    let per = |x: f64| x / n as f64;
    println!(
        "{:8} p50 {:.2} p90 {:.2} p99 {:.2} | self {:.3} child {:.3} kthreads {:.3} total {:.3} ms",
        a[1],
        t[n / 2],
        t[n * 9 / 10],
        t[n * 99 / 100],
        per(s1 - s0),
        per(c1 - c0),
        per(k1 - k0),
        per(s1 - s0 + c1 - c0 + k1 - k0)
    );
}
