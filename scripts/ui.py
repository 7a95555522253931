"""Looks at the status page as people do. Started by test_ui.sh, which has a server, a daemon and a browser's driver ready.

Speaks the WebDriver protocol itself: there are a dozen calls of it.
"""

import base64
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request

driver, page, folder, daemon, axe, pictures = sys.argv[1:7]
TAB, ENTER = "\ue004", "\ue007"
failures = []


def call(method, path, body=None):
    data = None if method in ("GET", "DELETE") else json.dumps(body or {}).encode()
    request = urllib.request.Request(driver + path, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(json.load(error)["value"]["message"]) from None


def wait(what, condition, seconds=60):
    """Until the condition holds, whatever it says; a page that is on its way is none yet."""
    end = time.monotonic() + seconds
    while True:
        try:
            found = condition()
        except (OSError, RuntimeError):
            found = None
        if found:
            return found
        if time.monotonic() > end:
            raise SystemExit(f"ui: waited in vain for {what}")
        time.sleep(0.1)


def check(ok, what):
    print(f"ui: {'ok' if ok else 'FAILED'}: {what}")
    if not ok:
        failures.append(what)


wait("the browser's driver", lambda: call("GET", "/status")["ready"])
options = {
    "args": [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder}/browser",
    ],
}
capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}, "browserName": "chrome"}
session = "/session/" + call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]


def script(text, *arguments):
    return call("POST", session + "/execute/sync", {"script": text, "args": list(arguments)})


def devtools(command, **parameters):
    return call("POST", session + "/goog/cdp/execute", {"cmd": command, "params": parameters})


def look(width, height=900, scheme="light"):
    devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
    devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


def go():
    call("POST", session + "/url", {"url": page + "/"})


def text():
    return script("return document.body.innerText")


def press(keys):
    actions = []
    for key in keys:
        actions += [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
    call("POST", session + "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})


def picture(name):
    if pictures:
        shot = devtools("Page.captureScreenshot", captureBeyondViewport=True)
        with open(f"{pictures}/{name}.png", "wb") as file:
            file.write(base64.b64decode(shot["data"]))


try:
    # What there is to be seen: every job has run, well or badly.
    def status():
        with urllib.request.urlopen(page + "/api/status", timeout=5) as answer:
            return json.load(answer)

    wait("the database", lambda: status()["databases"]["main"]["up"])
    for _ in range(3):
        os.kill(int(daemon), signal.SIGUSR1)
        wait("a run of each job", lambda: all(job["last_outcome"] and not job["running_since"] for job in status()["jobs"]))
    look(1280)
    wait("the backup on the page", lambda: (go(), "Read back" in text())[1])

    for scheme in ("light", "dark"):
        for width in (1440, 768, 360):
            look(width, scheme=scheme)
            go()
            over = script("return document.documentElement.scrollWidth - innerWidth")
            check(over <= 0, f"{scheme}, {width} pixels wide: nothing sticks out ({over})")
            picture(f"{scheme}-{width}")
        call("POST", session + "/execute/sync", {"script": open(axe, encoding="utf-8").read(), "args": []})
        found = call("POST", session + "/execute/async", {
            "script": "axe.run().then(arguments[0], error => arguments[0]({ violations: [{ id: String(error), nodes: [] }] }))",
            "args": [],
        })["violations"]
        said = "; ".join(f"{one['id']}: {one['nodes'][0]['html'] if one['nodes'] else ''}" for one in found)
        check(not found, f"{scheme}: axe-core finds nothing that keeps anybody out {said}")

    look(1280)
    go()
    words = script("return document.body.textContent")
    for expected in ("Wrong right now", "database away", "division by zero", "public.test_results", "lies in its default"):
        check(expected in words, f"the page says: {expected}")
    check(words.index("Wrong right now") < words.index("Last success"), "what is wrong stands on top")
    names = script("return [...document.querySelectorAll('svg[role=img]')].map(one => one.getAttribute('aria-label'))")
    check(len(names) > 5 and all(names), "every drawing says in words what it shows")

    # By keyboard alone: to the token, in, to a button, and a job runs.
    check("Run" not in script("return [...document.querySelectorAll('button')].map(one => one.textContent)"), "strangers have no buttons")

    def tab_to(wanted):
        for _ in range(60):
            press([TAB])
            if script(f"return document.activeElement.matches({json.dumps(wanted)})"):
                return script("return getComputedStyle(document.activeElement).outlineStyle") != "none"
        return False

    check(tab_to("#token"), "the token is reached by keyboard, and one sees where one is")
    press("a token for this occasion")
    press([ENTER])
    wait("the buttons", lambda: script("return document.querySelectorAll('main button').length") > 0)
    check(tab_to("button[aria-label='Run by-hand now']"), "a job's button is reached by keyboard, and one sees where one is")
    runs = "return Number(document.querySelector('#job-by-hand svg').getAttribute('aria-label').match(/(\\d+) succeeded/)[1])"
    before = script(runs)
    press([ENTER])
    wait("the run of the button", lambda: (go(), script(runs) > before)[1])
    check(True, "a job is run by its button")
    picture("signed-in")

    # Left open, the page goes on by itself, and nothing is reloaded.
    script("window.here = true; document.activeElement.blur()")
    before = script(runs)
    os.kill(int(daemon), signal.SIGUSR1)
    wait("the page to be as it is now", lambda: script(runs) > before)
    check(script("return window.here === true"), "a page that is left open goes on by itself")

    errors = [entry["message"] for entry in call("POST", session + "/se/log", {"type": "browser"})]
    check(not [one for one in errors if "/sign-in" not in one], f"the browser has nothing to complain of {errors}")

    # Without a script it is the same page.
    devtools("Emulation.setScriptExecutionDisabled", value=True)
    go()
    dom = devtools("DOM.getOuterHTML", backendNodeId=devtools("DOM.getDocument")["root"]["backendNodeId"])["outerHTML"]
    check("Wrong right now" in dom and "public.test_results" in dom, "without a script it is the same page")
finally:
    call("DELETE", session)

if failures:
    raise SystemExit(f"ui: {len(failures)} failed")
