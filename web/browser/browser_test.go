package browser

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// hold acquires a key until the end of the test, unless it is released before.
func (r *rig) hold(k *lock.Locker, key string, opts ...lock.Option) *lease.Lease {
	r.Helper()
	l, err := k.Lock(r.Context(), key, opts...)
	r.must(err)
	return l
}

func TestBrowser_ALockAppearsAndVanishes(t *testing.T) {
	r := newRig(t, "")
	r.visit("")
	r.sees("Locks work", "No lock is held", "Live")
	l := r.hold(r.locker, "order:42")
	r.sees("order:42", "worker", "1 lock")
	r.must(l.Release(context.Background()))
	r.sees("No lock is held", "!order:42")
	r.clean()
}

func TestBrowser_PauseAndResume(t *testing.T) {
	r := newRig(t, "")
	r.visit("")
	r.sees("Live")
	r.do(chromedp.Click(chromedp.CSS("#pause")))
	r.sees("Paused", "Resume")
	r.hold(r.locker, "order:42")
	other := r.process("other")
	r.hold(other, "order:43")
	if text := r.shown(); strings.Contains(text, "order:42") {
		t.Errorf("a page that is paused changed:\n%s", text)
	}
	r.do(chromedp.Click(chromedp.CSS("#pause")))
	r.sees("Live", "order:42", "order:43")
	r.clean()
}

// A person filters by mode, and the page follows what happens.
func TestBrowser_FilterByMode(t *testing.T) {
	r := newRig(t, "")
	r.hold(r.locker, "order:42")
	r.hold(r.locker, "gpu", lock.Limit(2))
	first := r.hold(r.locker, "catalog", lock.Shared())
	r.visit("")
	r.sees("3 locks", "order:42", "catalog", "gpu", "!Show all")
	for _, width := range []int64{360, 1440} {
		r.size(width, "light")
		r.do(chromedp.SendKeys(chromedp.CSS("[name=mode]"), "shared"), chromedp.Click(chromedp.CSS(".filter button")), chromedp.WaitVisible(chromedp.CSS(".filter a")))
		r.sees("1 lock of 3", "catalog", "!order:42", "!gpu", "Show all", "Live")
		if query := eval[string](r, "location.search"); !strings.Contains(query, "mode=shared") {
			t.Errorf("the query is %s", query)
		}
		if chosen := eval[string](r, `document.querySelector("[name=mode]").value`); chosen != "shared" {
			t.Errorf("the form has %q", chosen)
		}
		r.fits()
	}
	r.hold(r.locker, "prices", lock.Shared())
	r.hold(r.locker, "order:43")
	r.sees("2 locks of 5", "prices", "!order:43")
	r.do(chromedp.Click(chromedp.CSS(`thead a[href*="sort=key"]`)), chromedp.WaitVisible(chromedp.CSS(`thead [aria-sort] a[href*="sort=-key"]`)))
	r.sees("2 locks of 5", "!order:42")
	r.must(first.Release(context.Background()))
	r.sees("1 lock of 4", "!catalog", "prices")
	r.do(chromedp.Click(chromedp.CSS(".filter a")))
	r.sees("4 locks", "order:42", "gpu")
	r.clean()
}

func TestBrowser_AFrozenNodeIsNamed(t *testing.T) {
	r := newRig(t, "")
	r.hold(r.locker, "order:42")
	u, err := url.Parse(r.nodes.URLs()[4])
	if err != nil {
		t.Fatal(err)
	}
	r.visit("nodes")
	r.sees("Locks work", u.Host, "!has not answered")
	r.nodes.Pause(4)
	r.sees("1 of 5 nodes down", u.Host+" has not answered for")
	r.nodes.Resume(4)
	r.sees("All 5 nodes are up", "answers again")
	r.clean()
}

func TestBrowser_ReleaseByForce(t *testing.T) {
	r := newRig(t, "ann")
	l := r.hold(r.locker, "order:42")
	r.visitForm("lock?key=order:42")
	r.sees("Held by worker", "Take the lock away", "in the name of ann")
	r.do(chromedp.SendKeys(chromedp.CSS("[name=reason]"), "hangs since the deploy"), chromedp.SendKeys(chromedp.CSS("[name=confirm]"), "order:43"),
		chromedp.Click(chromedp.CSS("button.danger")), chromedp.WaitVisible(chromedp.CSS("[role=alert]")))
	r.sees("confirm: is not the key")
	if err := l.Err(); err != nil {
		t.Fatalf("the lease ended without the confirmation: %v", err)
	}
	r.mu.Lock()
	r.faults = nil // the browser logs the status 400 that this page is about
	r.mu.Unlock()
	r.visitForm("lock?key=order:42")
	r.do(chromedp.SendKeys(chromedp.CSS("[name=reason]"), "hangs since the deploy"), chromedp.SendKeys(chromedp.CSS("[name=confirm]"), "order:42"+kb.Enter))
	r.sees("hangs since the deploy", "by ann", "Taken away from its holder")
	<-l.Done()
	if cause := context.Cause(l.Context()); !strings.Contains(cause.Error(), "ann") {
		t.Errorf("the lease ended with %v", cause)
	}
	r.clean()
}

// Over plain HTTP from another machine a browser says less about a form; and in
// the fields of a form it changes newlines, and bytes that are not UTF-8.
func TestBrowser_ReleaseOverPlainHTTPOfAnOddKey(t *testing.T) {
	r := newRig(t, "ann")
	r.server.URL = strings.Replace(r.server.URL, "127.0.0.1", remoteName, 1)
	const key, typed = "one\ntwo\xff + %41", `one\ntwo\xff + %41`
	l := r.hold(r.locker, key)
	other := r.hold(r.locker, "one\r\ntwo\ufffd + %41")
	r.visitForm("lock?key=" + url.QueryEscape(key))
	r.sees("Held by worker", "Take the lock away")
	if eval[bool](r, "window.isSecureContext") {
		t.Error("the browser trusts the page, so that nothing was tested")
	}
	r.do(chromedp.SendKeys(chromedp.CSS("[name=reason]"), "hangs"), chromedp.SendKeys(chromedp.CSS("[name=confirm]"), typed+kb.Enter))
	r.sees("by ann", "Taken away from its holder")
	<-l.Done()
	if err := other.Err(); err != nil {
		t.Errorf("another lock: %v", err)
	}
	r.mu.Lock()
	r.faults = slices.DeleteFunc(r.faults, func(text string) bool { // the browser says that it obeys this header over HTTPS only
		return strings.Contains(text, "Cross-Origin-Opener-Policy header has been ignored")
	})
	r.mu.Unlock()
	r.clean()
}

func TestBrowser_WithoutRightsNothingCanBeReleased(t *testing.T) {
	r := newRig(t, "")
	l := r.hold(r.locker, "order:42")
	r.visit("lock?key=order:42")
	r.sees("Held by worker", "!Take the lock away")
	status := eval[int](r, `fetch("release", {method: "POST", body: new URLSearchParams({key: "order:42", confirm: "order:42", reason: "x", seen: "x"})}).then(a => a.status)`)
	if status != 403 || l.Err() != nil {
		t.Errorf("status %d, lease %v", status, l.Err())
	}
}

// What others wrote is shown as text, and does nothing.
func TestBrowser_HostileTexts(t *testing.T) {
	r := newRig(t, "")
	key := `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>` + "\u202e" + "fdp.exe\n" + strings.Repeat("long", 200)
	r.hold(r.locker, key, lock.Owner(`<b onclick=alert(1)>me</b>`))
	for _, path := range []string{"", "lock?key=" + url.QueryEscape(key), "?prefix=" + url.QueryEscape(key[:60])} {
		r.visit(path)
		r.sees("<img src=x", "<b onclick", "Live")
		if title := eval[string](r, "document.title"); strings.Contains(title, "owned") && !strings.Contains(title, "<img") {
			t.Errorf("the title is %q", title)
		}
		if n := eval[int](r, `document.querySelectorAll("main img, main script, main b[onclick]").length`); n != 0 {
			t.Errorf("%d elements were made of texts", n)
		}
	}
	r.size(360, "light")
	r.visit("lock?key=" + url.QueryEscape(key))
	r.fits()
	r.clean()
}

// fits fails if the page is wider than the window.
func (r *rig) fits() {
	r.Helper()
	if over := eval[int](r, "document.documentElement.scrollWidth - window.innerWidth"); over > 0 {
		r.Errorf("the page is %d px wider than the window", over)
	}
}

// The focus stays where it is when the page changes by itself.
func TestBrowser_TheFocusStays(t *testing.T) {
	r := newRig(t, "")
	r.hold(r.locker, "order:42")
	r.visit("")
	r.sees("order:42", "Live")
	r.do(chromedp.Focus(chromedp.CSS(`tbody a`)))
	before := eval[string](r, `(() => { window.kept = document.querySelector("tbody a"); return document.activeElement.textContent })()`)
	r.hold(r.locker, "order:43")
	r.sees("order:43")
	if after := eval[string](r, "document.activeElement.textContent"); before != "order:42" || after != before {
		t.Errorf("the focus went from %q to %q", before, after)
	}
	if eval[bool](r, "window.kept.isConnected") {
		t.Error("the table was not replaced, so that nothing was tested")
	}
	r.clean()
}
