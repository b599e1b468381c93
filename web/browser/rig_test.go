package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lock"
	"github.com/venta-hq/redlock/web"
)

var discard = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	redis.SetLogger(&logging.VoidLogger{}) // nodes are stopped here
	os.Exit(harness.Run(m, func() {}))
}

// findBrowser is the Chromium of this machine, or skips the test.
func findBrowser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no Chromium is installed: apt-get install chromium, or make setup")
	return ""
}

// rig is five real nodes, a program that holds locks, and a browser tab.
type rig struct {
	*testing.T
	nodes  harness.Set
	began  time.Time
	locker *lock.Locker
	server *httptest.Server
	tab    context.Context

	mu     sync.Mutex
	faults []string // what the browser complained about
}

// remoteName leads the browser to the pages as if they were on another machine.
// It trusts loopback addresses more than others that are reached by plain HTTP.
const remoteName = "pages.test"

// newRig serves pages that may release locks in this name, or are read-only if
// it is empty.
func newRig(t *testing.T, who string) *rig {
	t.Helper()
	path := findBrowser(t)
	r := &rig{T: t, nodes: harness.Real(t, 5, redisserver.Options{}), began: time.Now()}
	r.locker = r.process("worker")
	cfg := web.Config{Cluster: cluster.Config{URLs: r.nodes.URLs(), Logger: discard}, Every: 500 * time.Millisecond, Logger: discard}
	if who != "" {
		cfg.Authorize = func(*http.Request) (string, bool) { return who, true }
	}
	h, err := web.Open(t.Context(), cfg)
	r.must(err)
	mux := http.NewServeMux()
	mux.Handle("/ops/redlock/", http.StripPrefix("/ops/redlock", h))
	r.server = httptest.NewServer(mux)
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
		r.server.Close()
	})
	r.openTab(path)
	return r
}

// process is a program with connections of its own.
func (r *rig) process(owner string) *lock.Locker {
	r.Helper()
	c, err := cluster.Open(r.Context(), cluster.Config{URLs: r.nodes.URLs(), Logger: discard})
	r.must(err)
	harness.CloseAtEnd(r.T, c)
	k, err := lock.New(c, lock.Config{Owner: owner})
	r.must(err)
	harness.CloseAtEnd(r.T, k)
	return k
}

func (r *rig) must(err error) {
	r.Helper()
	harness.Must(r.T, r.began, err)
}

// openTab starts the browser and takes down what it complains about.
func (r *rig) openTab(path string) {
	r.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.Flag("hide-scrollbars", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("host-resolver-rules", "MAP "+remoteName+" 127.0.0.1"))
	start, stop := chromedp.NewExecAllocator(context.Background(), options...)
	tab, end := chromedp.NewContext(start)
	r.tab = tab
	var console sync.WaitGroup
	r.Cleanup(func() {
		_ = chromedp.Cancel(tab) // waits for the browser to end
		end()
		stop()
		console.Wait()
	})
	if err := chromedp.Do(tab); err != nil { // starts the browser
		r.Fatalf("the browser: %v", err)
	}
	messages := chromedp.Console(tab)
	console.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			r.mu.Lock()
			r.faults = append(r.faults, m.String())
			r.mu.Unlock()
		}
	})
	r.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: watchPolicy})
		return err
	}))
}

// watchPolicy has the page keep what its content security policy refuses.
const watchPolicy = `window.refused = []; document.addEventListener("securitypolicyviolation", e => window.refused.push(e.violatedDirective + " " + e.blockedURI))`

// do runs actions in the tab, within the patience of a test.
func (r *rig) do(actions ...chromedp.Action[chromedp.Void]) {
	r.Helper()
	run(r, chromedp.Steps(actions...))
}

// run is the value of an action in the tab.
func run[T any](r *rig, action chromedp.Action[T]) T {
	r.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.tab, harness.Patience)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if ctx.Err() != nil {
		harness.Missed(r.T, began, "the browser: %v; it shows\n%s", err, r.shown())
	}
	if err != nil {
		r.Fatalf("the browser: %v", err)
	}
	return v
}

// shown is what the page shows, for an error.
func (r *rig) shown() string {
	ctx, cancel := context.WithTimeout(r.tab, harness.Patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
	if err != nil {
		return err.Error()
	}
	return text
}

// visit opens a page.
func (r *rig) visit(path string) {
	r.Helper()
	r.do(chromedp.Navigate(r.server.URL+"/ops/redlock/"+path), chromedp.WaitReady(chromedp.CSS("main")))
}

// visitForm opens the page of a lock until it has a form: it has none if the
// nodes had not answered yet.
func (r *rig) visitForm(path string) {
	r.Helper()
	for began := time.Now(); ; {
		r.visit(path)
		if eval[bool](r, `document.querySelector("form") !== null`) {
			return
		}
		if time.Since(began) > harness.Patience {
			harness.Missed(r.T, began, "no form on\n%s", r.shown())
		}
	}
}

// eval is the value of an expression in the page.
func eval[T any](r *rig, expression string) T {
	r.Helper()
	return run(r, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// sees waits until the page shows the texts, without those that begin with
// "!". The page is not reloaded; a form that was sent may still lead to it.
func (r *rig) sees(texts ...string) {
	r.Helper()
	list, err := json.Marshal(texts)
	r.must(err)
	began := time.Now()
	poll := chromedp.Poll[chromedp.Void](fmt.Sprintf(`%s.every(t => t[0] === "!" ? !document.body.innerText.includes(t.slice(1)) : document.body.innerText.includes(t))`, list),
		chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(0))
	ctx, cancel := context.WithTimeout(r.tab, harness.Patience)
	defer cancel()
	for {
		_, err := chromedp.Run(ctx, poll)
		switch {
		case err == nil:
			return
		case ctx.Err() != nil:
			harness.Missed(r.T, began, "the page does not show %q, but\n%s", texts, r.shown())
		case !strings.Contains(err.Error(), "navigated") && !strings.Contains(err.Error(), "Cannot find context"): // the page was left
			r.Fatalf("the browser: %v", err)
		}
	}
}

// clean fails if the browser complained, or refused something by policy.
func (r *rig) clean() {
	r.Helper()
	if refused := eval[[]string](r, "window.refused"); len(refused) > 0 {
		r.Errorf("refused by the policy: %q", refused)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.faults) > 0 {
		r.Errorf("the browser complains: %q", r.faults)
	}
}

// size sets the width of the window, and the color scheme.
func (r *rig) size(width int64, scheme string) {
	r.Helper()
	height := int64(940)
	if width < 600 {
		height = 780
	}
	r.do(chromedp.EmulateViewport(width, height), chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
}

// photograph writes what the window shows, if screenshots are asked for.
func (r *rig) photograph(name string, whole bool) {
	r.Helper()
	dir := os.Getenv("REDLOCK_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	action := chromedp.CaptureScreenshot()
	if whole {
		action = chromedp.FullScreenshot(100)
	}
	picture, err := small(run(r, action))
	r.must(err)
	r.must(os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644))
}
