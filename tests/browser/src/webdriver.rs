//! Chromium, driven by chromedriver: `https://www.w3.org/TR/webdriver2/`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// The environment variable by which these tests are left out.
pub const LEFT_OUT: &str = "CACHE_TESTS_WITHOUT_BROWSER";

/// How long a scenario waits for what it expects.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a session calls an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The programs that a browser is made of.
#[derive(Debug)]
pub struct Programs {
    browser: PathBuf,
    driver: PathBuf,
}

impl Programs {
    /// The programs on this machine: those that `CHROMIUM` and `CHROMEDRIVER` name, else those on `PATH`.
    ///
    /// # Errors
    ///
    /// If one of them is missing; the error says how to install it.
    pub fn find() -> Result<Self, String> {
        let find = |variable: &str, names: &[&str]| {
            if let Some(named) = std::env::var_os(variable).map(PathBuf::from) {
                return Ok(named);
            }
            let path = std::env::var_os("PATH").unwrap_or_default();
            let folders: Vec<_> = std::env::split_paths(&path).collect();
            let mut all = names
                .iter()
                .flat_map(|name| folders.iter().map(move |it| it.join(name)));
            all.find(|path| path.is_file()).ok_or_else(|| {
                format!(
                    "there is no {} on PATH. `cargo xtask test` installs it; on Debian, so does `apt-get install \
                     chromium chromium-driver`. Or set {variable} to the path of one, or {LEFT_OUT}=1 to leave the \
                     tests in a browser out",
                    names[0]
                )
            })
        };
        Ok(Self {
            browser: find(
                "CHROMIUM",
                &[
                    "chromium",
                    "chromium-browser",
                    "google-chrome",
                    "google-chrome-stable",
                ],
            )?,
            driver: find("CHROMEDRIVER", &["chromedriver"])?,
        })
    }
}

/// A browser with one window. It is closed when this is dropped.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    /// Dropped last: the browser writes there.
    profile: TempDir,
}

/// An element of the page.
#[derive(Debug, Clone)]
pub struct Element(String);

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser that it started, if it is asked to end itself. Else it is killed.
        let asked = std::net::TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
            use std::io::Write as _;
            let session = &self.session;
            write!(stream, "DELETE /session/{session} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            std::io::copy(&mut stream, &mut std::io::sink())
        });
        drop(asked);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Browser {
    /// Starts a browser with an empty profile.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start(programs: &Programs) -> Self {
        let profile = tempfile::tempdir().expect("a folder for the profile");
        let mut driver = Command::new(&programs.driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let port = port_of(&mut driver);
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
            profile,
        };
        let folder = browser.profile.path().display().to_string();
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--window-size=1280,900",
            &format!("--user-data-dir={folder}"),
        ];
        let made = browser
            .send(
                "POST",
                "/session",
                &json!({ "capabilities": { "alwaysMatch": {
                "browserName": "chrome",
                "goog:loggingPrefs": { "browser": "ALL" },
                "goog:chromeOptions": { "binary": programs.browser, "args": arguments },
            } } }),
            )
            .await;
        let session = made["sessionId"].as_str().expect("a session");
        session.clone_into(&mut browser.session);
        browser
    }

    async fn command(&self, method: &str, path: &str, body: Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.send(method, &path, &body).await
    }

    /// # Panics
    ///
    /// If the driver does not answer, or answers with an error.
    async fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        match self.try_send(method, path, body).await {
            Ok(value) => value,
            Err(error) => panic!("{method} {path}: {error}"),
        }
    }

    async fn try_send(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let sent = async {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let body = if method == "GET" {
                String::new()
            } else {
                body.to_string()
            };
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("host", "localhost")
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(body)))?;
            let response = sender.send_request(request).await?;
            let bytes = response.into_body().collect().await?.to_bytes();
            let answer: Value = serde_json::from_slice(&bytes)?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(answer)
        };
        let mut answer = sent.await.map_err(|error| error.to_string())?;
        let value = answer["value"].take();
        match value.get("error") {
            Some(error) => Err(format!("{error}: {}", value["message"])),
            None => Ok(value),
        }
    }

    /// Opens an address, and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.command("POST", "/url", json!({ "url": url })).await;
    }

    /// The elements that a selector finds.
    pub async fn all(&self, selector: &str) -> Vec<Element> {
        let body = json!({ "using": "css selector", "value": selector });
        let found = self.command("POST", "/elements", body).await;
        let found = found.as_array().map(Vec::as_slice).unwrap_or_default();
        let name = |it: &Value| Element(it[ELEMENT].as_str().unwrap_or_default().to_owned());
        found.iter().map(name).collect()
    }

    /// The element that a selector finds, once there is one that is shown.
    ///
    /// # Panics
    ///
    /// If there is none in time.
    pub async fn find(&self, selector: &str) -> Element {
        let end = Instant::now() + PATIENCE;
        loop {
            for element in self.all(selector).await {
                if self.is_shown(&element).await {
                    return element;
                }
            }
            assert!(Instant::now() < end, "`{selector}` is not there");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    async fn is_shown(&self, element: &Element) -> bool {
        let path = format!("/session/{}/element/{}/displayed", self.session, element.0);
        // An element that the page has replaced meanwhile is not shown.
        self.try_send("GET", &path, &Value::Null).await == Ok(Value::Bool(true))
    }

    /// Whether a selector finds an element that is shown.
    pub async fn shows(&self, selector: &str) -> bool {
        for element in self.all(selector).await {
            if self.is_shown(&element).await {
                return true;
            }
        }
        false
    }

    /// Clicks the element that a selector finds. It is looked for again if the page replaces it.
    ///
    /// # Panics
    ///
    /// If it cannot be clicked in time.
    pub async fn click(&self, selector: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let element = self.find(selector).await;
            let path = format!("/session/{}/element/{}/click", self.session, element.0);
            match self.try_send("POST", &path, &json!({})).await {
                Ok(_) => return,
                Err(error) => assert!(Instant::now() < end, "`{selector}`: {error}"),
            }
        }
    }

    /// Writes into a field, in the place of what it holds.
    pub async fn write(&self, selector: &str, text: &str) {
        let element = self.find(selector).await;
        self.command("POST", &format!("/element/{}/clear", element.0), json!({}))
            .await;
        let body = json!({ "text": text });
        self.command("POST", &format!("/element/{}/value", element.0), body)
            .await;
    }

    /// Presses keys, one after the other, wherever the focus is.
    pub async fn press(&self, keys: &[char]) {
        let actions: Vec<Value> = keys
            .iter()
            .flat_map(|key| {
                [
                    json!({ "type": "keyDown", "value": key.to_string() }),
                    json!({ "type": "keyUp", "value": key.to_string() }),
                ]
            })
            .collect();
        let body = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.command("POST", "/actions", body).await;
    }

    /// Runs JavaScript, and returns what it returns.
    pub async fn run(&self, script: &str) -> Value {
        self.command(
            "POST",
            "/execute/sync",
            json!({ "script": script, "args": [] }),
        )
        .await
    }

    /// The text of the element that a selector finds, as it is shown.
    pub async fn text(&self, selector: &str) -> String {
        let selector = Value::from(selector);
        let script = format!("return document.querySelector({selector})?.innerText ?? ''");
        self.run(&script)
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits until the text of an element holds true.
    ///
    /// # Panics
    ///
    /// If it does not in time.
    pub async fn until_text(&self, selector: &str, holds: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = self.text(selector).await;
            if holds(&text) {
                return text;
            }
            assert!(Instant::now() < end, "`{selector}` is still `{text}`");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Waits until JavaScript returns true.
    ///
    /// # Panics
    ///
    /// If it does not in time.
    pub async fn until(&self, script: &str) {
        let end = Instant::now() + PATIENCE;
        while self.run(script).await != true {
            assert!(Instant::now() < end, "it is still not so: {script}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Sends a command of the developer tools.
    pub async fn tools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.command("POST", "/goog/cdp/execute", body).await
    }

    /// Has the window be of this size, in points; of a phone below 600.
    pub async fn resize(&self, width: u32, height: u32) {
        let parameters = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.tools("Emulation.setDeviceMetricsOverride", parameters)
            .await;
    }

    /// Has the page be shown in the light or in the dark.
    pub async fn prefer(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.tools("Emulation.setEmulatedMedia", features).await;
    }

    /// What the browser has logged since the last call: each line that is a warning or worse.
    pub async fn log(&self) -> Vec<String> {
        let entries = self
            .command("POST", "/se/log", json!({ "type": "browser" }))
            .await;
        let entries = entries.as_array().cloned().unwrap_or_default();
        let is_grave = |it: &&Value| matches!(it["level"].as_str(), Some("WARNING" | "SEVERE"));
        let text = |it: &Value| it["message"].as_str().unwrap_or_default().to_owned();
        entries.iter().filter(is_grave).map(text).collect()
    }

    /// Writes what the window shows to a file; with `is_whole`, the whole page.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    pub async fn screenshot(&self, path: &Path, is_whole: bool) {
        let shown = self
            .tools(
                "Page.captureScreenshot",
                json!({ "captureBeyondViewport": is_whole }),
            )
            .await;
        let shown = STANDARD
            .decode(shown["data"].as_str().unwrap_or_default())
            .expect("base64");
        std::fs::write(path, shown).expect("the screenshot is written");
    }
}

/// The port that the driver has chosen, which it prints.
fn port_of(driver: &mut Child) -> u16 {
    let output = driver.stdout.take().expect("the driver's output");
    let mut lines = BufReader::new(output).lines();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let (_, port) = line.rsplit_once("started successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    // The rest is read, so that the driver is not held up by a full pipe.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    port.expect("the driver prints its port")
}
