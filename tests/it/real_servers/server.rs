//! The servers: their start, and their record of the requests that they read.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process};

use crate::lab::{PATH, is_installed, unavailable, wait_until};

/// The servers that this process has started.
static STARTED: AtomicUsize = AtomicUsize::new(0);

/// A running server. Dropping it ends it and removes its files.
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) addr: SocketAddr,
    dir: PathBuf,
    child: Child,
}

impl Server {
    /// The requests that it has read, one per line.
    pub(super) fn requests(&self) -> Vec<String> {
        let log = fs::read(self.dir.join("log")).unwrap_or_default();
        // The last line may not be whole yet.
        let whole = log.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        let text = String::from_utf8_lossy(&log[..whole]).into_owned();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Starts a server with these files in its own directory. `{dir}` and `{port}` are replaced in
/// files and arguments.
fn start(name: &'static str, files: &[(&str, &str)], arguments: &[&str]) -> Option<Server> {
    if let Some(missing) = [name, "setpriv", "unshare"].into_iter().find(|tool| !is_installed(tool))
    {
        unavailable(&format!("real servers: {name}: NOT RUN, {missing} is not installed"));
        return None;
    }
    // Tests that run at the same time may start the same server.
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let dir = env::temp_dir().join(format!("picluster-{name}-{}-{number}", process::id()));
    fs::create_dir_all(&dir).unwrap();
    // The port is free now. If another program takes it meanwhile, the server ends and the test
    // fails.
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let filled = |text: &str| {
        text.replace("{dir}", dir.to_str().unwrap()).replace("{port}", &addr.port().to_string())
    };
    for (file, text) in files {
        fs::write(dir.join(file), filled(text)).unwrap();
    }
    // In its own PID namespace a server ends with all its processes, and a killed test leaves none
    // behind.
    let user: &[&str] =
        if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--map-current-user"] };
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child"])
        .args(user)
        // The namespace ends with its first process. That process is not the server itself, because
        // a process that changes its user gets no signal at its parent's end any more.
        .args(["sh", "-c", "\"$@\" & wait $!", "sh", name])
        .args(arguments.iter().map(|argument| filled(argument)))
        .env("PATH", PATH)
        .current_dir(&dir)
        .stdin(Stdio::null())
        .stdout(output(&dir, "stdout"))
        .stderr(output(&dir, "stderr"))
        .spawn()
        .unwrap();
    let mut server = Server { name, addr, dir, child };
    wait_until("the server to listen", || {
        if let Ok(Some(status)) = server.child.try_wait() {
            let said = fs::read_to_string(server.dir.join("stderr")).unwrap_or_default();
            panic!("{name} ended with {status}: {said}");
        }
        TcpStream::connect(addr).is_ok()
    });
    Some(server)
}

fn output(dir: &Path, file: &str) -> Stdio {
    fs::File::create(dir.join(file)).unwrap().into()
}

pub(super) fn nginx() -> Option<Server> {
    let conf = "daemon off; master_process off; pid {dir}/pid; error_log {dir}/errors;
        events {}
        http {
            # As the package is installed: gzip_proxied is off.
            gzip on; gzip_min_length 1; default_type text/html;
            log_format request '$request';
            access_log {dir}/log request;
            # The usual places are root's.
            client_body_temp_path {dir}/bodies; proxy_temp_path {dir}/proxied;
            fastcgi_temp_path {dir}/fastcgi; scgi_temp_path {dir}/scgi; uwsgi_temp_path {dir}/uwsgi;
            server {
                listen 127.0.0.1:{port};
                location / { return 200 ok; }
            }
        }";
    start("nginx", &[("conf", conf)], &["-c", "{dir}/conf"])
}

pub(super) fn lighttpd() -> Option<Server> {
    let conf = r#"server.document-root = "{dir}"
        server.bind = "127.0.0.1"
        server.port = {port}
        server.errorlog = "{dir}/errors"
        server.modules = ("mod_accesslog")
        index-file.names = ("index.html")
        accesslog.format = "%r"
        # A file would be written to every few seconds.
        accesslog.filename = "|exec cat >> {dir}/log""#;
    start("lighttpd", &[("conf", conf), ("index.html", "ok")], &["-D", "-f", "{dir}/conf"])
}

pub(super) fn apache() -> Option<Server> {
    let conf = r#"ServerRoot "{dir}"
        ServerName pi
        PidFile "{dir}/pid"
        DefaultRuntimeDir "{dir}"
        Listen 127.0.0.1:{port}
        LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
        LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
        User www-data
        Group www-data
        MaxKeepAliveRequests 0
        DocumentRoot "{dir}"
        ErrorLog "{dir}/errors"
        LogFormat "%r" request
        CustomLog "{dir}/log" request"#;
    start("apache2", &[("conf", conf)], &["-X", "-f", "{dir}/conf"])
}

pub(super) fn node() -> Option<Server> {
    let script = "const fs = require('fs');
        require('http').createServer((request, response) => {
            fs.appendFileSync('{dir}/log', request.method + ' ' + request.url + '\\n');
            request.resume();
            request.on('end', () => response.end('ok'));
        }).listen({port}, '127.0.0.1');";
    start("node", &[("server.js", script)], &["{dir}/server.js"])
}

pub(super) fn gunicorn() -> Option<Server> {
    let app = "def app(environ, start_response):
    environ['wsgi.input'].read()
    with open('{dir}/log', 'a') as log:
        log.write(environ['REQUEST_METHOD'] + ' ' + environ['RAW_URI'] + '\\n')
    start_response('200 OK', [('Content-Length', '2')])
    return [] if environ['REQUEST_METHOD'] == 'HEAD' else [b'ok']
";
    let arguments = ["--bind", "127.0.0.1:{port}", "--worker-class", "gthread", "--threads", "4"];
    let more = ["--keep-alive", "30", "--worker-tmp-dir", "{dir}", "app:app"];
    start("gunicorn", &[("app.py", app)], &[&arguments[..], &more[..]].concat())
}

pub(super) fn php() -> Option<Server> {
    let router = "<?php
        $line = $_SERVER['REQUEST_METHOD'] . ' ' . $_SERVER['REQUEST_URI'] . PHP_EOL;
        file_put_contents('{dir}/log', $line, FILE_APPEND);
        header('Content-Length: 2');
        echo 'ok';";
    start("php", &[("router.php", router)], &["-S", "127.0.0.1:{port}", "{dir}/router.php"])
}
