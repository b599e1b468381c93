package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// busy is three nodes with some of everything.
func busy() *fake {
	f := newFake()
	now := time.Now()
	waited := held("order:42", "nightly report", now.Add(-10*time.Minute))
	waited.Waiting = 3
	f.locks = []lock.Inspection{
		held("election:scheduler", "vm-7", now.Add(-time.Hour)), held("once:report", "vm-8", now.Add(-time.Second)),
		waited, held("order:43", "", now.Add(-time.Minute)),
	}
	f.jobs = []lease.Outcome{{Job: "report:1", Token: 77, Owner: "vm-8", Began: now.Add(-time.Minute), Ended: now.Add(-30 * time.Second)}}
	f.points = []lease.CheckpointInfo{{Key: "order:42", Token: 999, Revision: 2, Size: 3 << 10}, {Key: "reindex", Token: 5, Size: 1}}
	f.fences = []cluster.Finding{{Node: "c", Severity: cluster.Danger, Text: "its fence counter lies beyond the clock", Fix: "redlock nodes --repair-fences lock:"}}
	f.findings = []cluster.Finding{
		{Node: "a", Severity: cluster.Note, Text: "may lose locks when it crashes", Fix: "sync each write"},
		{Node: "b", Severity: cluster.Danger, Text: "evicts keys", Fix: "CONFIG SET maxmemory-policy noeviction"},
		{Node: "c", Severity: cluster.Note, Text: "may lose locks when it crashes", Fix: "sync each write"},
	}
	return f
}

func TestHandler_EveryRoute(t *testing.T) {
	h := serve(t, busy())
	for _, tt := range []struct {
		name, method, path, accept string
		status                     int
		want                       []string
	}{
		{"locks", "GET", "/", "", 200, []string{"Locks work", "4 locks", "3 processes wait", "order:42", "nightly report", "vm:4711", "≤ 1000", "10 min 00 s", "8.0 s"}},
		{"locks without a slash", "GET", "", "", 200, []string{"order:42"}},
		{"head", "HEAD", "/", "", 200, nil},
		{"prefix", "GET", "/?prefix=order:", "", 200, []string{"2 locks of 4", "order:43", "!once:report"}},
		{"older", "GET", "/?older=5m", "", 200, []string{"2 locks of 4", "order:42", "!order:43"}},
		{"older, bad", "GET", "/?older=soon", "", 400, []string{"held longer than", "not a time"}},
		{"older, negative", "GET", "/?older=-5m", "", 400, []string{"not a time"}},
		{"sort", "GET", "/?sort=age", "", 200, []string{`aria-sort="descending"`}},
		{"sort, bad", "GET", "/?sort=color", "", 400, []string{"not a column"}},
		{"page beyond the end", "GET", "/?page=7", "", 200, []string{"order:42"}},
		{"page, bad", "GET", "/?page=0", "", 400, []string{"not a number from 1"}},
		{"page, not a number", "GET", "/?page=x", "", 400, []string{"not a number from 1"}},
		{"query, bad", "GET", "/?prefix=%zz", "", 400, []string{"query cannot be read"}},
		{"prefix, too long", "GET", "/?prefix=" + strings.Repeat("x", quorumlock.MaxKeyLen+1), "", 400, []string{"at most 65536"}},
		{"nothing matches", "GET", "/?prefix=zzz", "", 200, []string{"No lock matches the filter"}},
		{"write to locks", "POST", "/", "", 405, []string{"can only be read"}},
		{"lock", "GET", "/lock?key=order:42", "", 200, []string{"Held by", "nightly report", "WAITER01", "1 min 00 s", "redlock inspect order:42", "has it", "3.0 KiB", "before the first check", "!Take the lock away"}},
		{"lock that is free", "GET", "/lock?key=nothing", "", 200, []string{"Free", "No process waits"}},
		{"lock without a key", "GET", "/lock", "", 400, []string{"key: is missing in the address"}},
		{"lock, key too long", "GET", "/lock?key=" + strings.Repeat("k", quorumlock.MaxKeyLen+1), "", 400, []string{"at most 65536"}},
		{"nodes", "GET", "/nodes", "", 200, []string{"3 nodes, quorum 2", "7.2.4", "1.0 ms", "evicts keys", "CONFIG SET", "fence counter lies beyond", "2 nodes: <bdi>may lose"}},
		{"jobs", "GET", "/jobs", "", 200, []string{"scheduler", "vm-7", "report:1", "30 s ago", "1 h 00 min", "3.0 KiB", "reindex", "1 byte"}},
		{"style", "GET", "/style.css", "", 200, []string{"prefers-color-scheme"}},
		{"script", "GET", "/script.js", "", 200, []string{"EventSource"}},
		{"icon", "GET", "/icon.svg", "", 200, []string{"<svg"}},
		{"write to the style", "POST", "/style.css", "", 405, nil},
		{"no such page", "GET", "/other", "", 404, []string{"no such page"}},
		{"below a page", "GET", "/nodes/", "", 404, nil},
		{"outside of the files", "GET", "/../config.go", "", 404, nil},
		{"release by get", "GET", "/release", "", 405, []string{"by POST only"}},
		{"release", "POST", "/release", "", 403, []string{"read-only"}},
		{"locks, JSON", "GET", "/", "application/json", 200, []string{`"key": "order:42"`, `"waiting": 3`, `"total": 4`, `"verdict": "ok"`}},
		{"locks, JSON by query", "GET", "/?format=json", "", 200, []string{`"key": "order:42"`}},
		{"lock, JSON", "GET", "/lock?key=order:42", "application/json", 200, []string{`"process": "WAITER01"`, `"may_release": false`, `"state": "held"`}},
		{"nodes, JSON", "GET", "/nodes", "application/json", 200, []string{`"node": "a"`, `"severity": "danger"`}},
		{"jobs, JSON", "GET", "/jobs", "application/json", 200, []string{`"name": "scheduler"`, `"job": "report:1"`, `"size_bytes": 3072`}},
		{"error, JSON", "GET", "/lock", "application/json", 400, []string{`"status": 400`, `"error": "Bad request: key`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "/", nil)
			path, query, _ := strings.Cut(tt.path, "?")
			r.URL.Path, r.URL.RawQuery = path, query
			w := do(h, r, "Accept", tt.accept)
			if w.Code != tt.status {
				t.Errorf("status %d, want %d:\n%s", w.Code, tt.status, w.Body)
			}
			contains(t, w.Body.String(), tt.want...)
			if isJSON := strings.HasPrefix(w.Header().Get("Content-Type"), "application/json"); isJSON != json.Valid(w.Body.Bytes()) {
				t.Errorf("Content-Type is %s of:\n%s", w.Header().Get("Content-Type"), w.Body)
			}
			if w.Code == 405 && w.Header().Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
}

func TestHandler_EveryAnswerIsProtected(t *testing.T) {
	h := serve(t, busy())
	for _, path := range []string{"/", "/lock?key=x", "/lock", "/nodes", "/jobs", "/release", "/style.css", "/script.js", "/icon.svg", "/other"} {
		header := get(h, path).Header()
		for name, want := range map[string]string{"X-Frame-Options": "DENY", "Referrer-Policy": "same-origin", "X-Content-Type-Options": "nosniff",
			"Vary": "Accept", "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin"} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %s: %q, want %q", path, name, got, want)
			}
		}
		// A file is kept and asked for again; what a page says of the locks is not kept.
		if got, file := header.Get("Cache-Control"), strings.Contains(path, "."); got != map[bool]string{false: "no-store", true: "no-cache"}[file] {
			t.Errorf("%s: Cache-Control: %q", path, got)
		}
		csp := header.Get("Content-Security-Policy")
		contains(t, csp, "default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'",
			"form-action 'self'", "!unsafe")
	}
}

// A page with an inline script, style or handler would be refused by its own
// policy, and an absolute link would leave the prefix that it is mounted under.
func TestHandler_PagesHaveNothingInlineAndOnlyRelativeLinks(t *testing.T) {
	h := http.StripPrefix("/admin/locks", serve(t, busy(), releasing("ann")))
	links := regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)
	for _, path := range []string{"", "lock?key=order:42", "nodes", "jobs", "other"} {
		body := get(h, "/admin/locks/"+path).Body.String()
		contains(t, body, "!<style", "! style=", "! onclick", "!javascript:")
		if n := strings.Count(body, "<script"); n != 1 || !strings.Contains(body, `<script src="script.js" defer></script>`) {
			t.Errorf("%q: %d scripts", path, n)
		}
		found := links.FindAllStringSubmatch(body, -1)
		if len(found) < 5 {
			t.Errorf("%q: %d links", path, len(found))
		}
		for _, link := range found {
			if strings.HasPrefix(link[1], "/") || strings.Contains(link[1], "//") {
				t.Errorf("%q: link %q is not relative", path, link[1])
			}
		}
	}
}

func TestHandler_FilesAreSentOnce(t *testing.T) {
	h := serve(t, newFake())
	first := get(h, "/style.css")
	if w := get(h, "/style.css", "If-None-Match", first.Header().Get("ETag")); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
		t.Errorf("the second time: status %d, %d bytes", w.Code, w.Body.Len())
	}
}

// hostile are texts that others may have written.
var hostile = map[string]string{
	"markup":         `<script>alert(1)</script><img src=x onerror=alert(2)>"'><b>`,
	"direction":      "safe\u202egnp.exe\u2066",
	"lines":          "one\ntwo\r\ndata: three\n\nevent: x",
	"controls":       "\x1b[31mred\x07\x00",
	"not UTF-8":      "\xff\xfe",
	"long":           strings.Repeat("0123456789abcdef", 64),
	"template":       "{{.Health}}${alert(1)}",
	"right to left":  "מפתח",
	"line separator": "a\u2028b",
}

func TestHandler_TextsOfOthersAreEscaped(t *testing.T) {
	for name, text := range hostile {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			f.locks = []lock.Inspection{held(text, text, time.Now()), held("election:"+text, text, time.Now())}
			f.locks[0].Holder.Host, f.locks[0].Waiting = text, 1
			f.locks[0].Views[2].Err = errors.New(text)
			f.locks[0].Views[1].Holder = lock.Holder{Writer: lock.WriterRedlock, Name: text, Host: text}
			f.jobs = []lease.Outcome{{Job: text, Owner: text}}
			f.points = []lease.CheckpointInfo{{Key: text}}
			f.findings = []cluster.Finding{{Node: text, Text: text, Fix: text}}
			f.reports[0] = cluster.Report{Status: cluster.Status{Node: text, Up: true, Votes: true, Version: text}, Server: text, Persistence: text, Eviction: text}
			f.reports[1] = cluster.Report{Status: cluster.Status{Node: text, Err: errors.New(text), Since: time.Now()}}
			h := serve(t, f, releasing(text))
			h.survey.journal.add(event{Key: text, Node: text, Kind: forced, Text: text})
			for _, path := range []string{"/", "/lock?" + "key=" + escapedQuery(text), "/nodes", "/jobs", "/lock?key=&older=" + escapedQuery(text),
				"/?older=" + escapedQuery(text), "/?sort=" + escapedQuery(text), "/?page=" + escapedQuery(text), "/?prefix=" + escapedQuery(text)} {
				for _, accept := range []string{"text/html", "application/json"} {
					body := formValues.ReplaceAllString(get(h, path, "Accept", accept).Body.String(), "")
					contains(t, body, "!<script>alert", "!<img", "!<b>\"", "!\u202e", "!\u2066", "!\x1b", "!\x07", "!\x00", "!\u2028", "!onerror=alert(2)>")
					if accept == "application/json" && !json.Valid([]byte(body)) {
						t.Errorf("%s: not JSON:\n%s", path, body)
					}
				}
			}
		})
	}
}

// formValues are the texts of a form, which have to come back as they are.
var formValues = regexp.MustCompile(` value="[^"]*"`)

func escapedQuery(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// A line that others wrote must not become a field of an event.
func TestStream_TextsOfOthersStayWithinTheirEvent(t *testing.T) {
	f := newFake()
	f.locks = []lock.Inspection{held(hostile["lines"], hostile["lines"], time.Now())}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	e := follow(ctx, t, serve(t, f), "/")
	event := e.until("1 lock")
	for line := range strings.Lines(event) {
		if !strings.HasPrefix(line, "data: ") {
			t.Errorf("line %q", line)
		}
	}
}

func TestHandler_OutagesAreMarkedAndNodesNamed(t *testing.T) {
	f := busy()
	f.reports[2] = cluster.Report{Status: cluster.Status{Node: "c", Err: os.ErrDeadlineExceeded, Since: time.Now().Add(-time.Minute)}}
	h := serve(t, f)
	contains(t, get(h, "/").Body.String(), "Locks work; 1 of 3 nodes down", "<b><bdi>c</bdi></b> has not answered for 1 min 00 s", "!Partial")

	f = busy()
	f.reports[1] = cluster.Report{Status: cluster.Status{Node: "b", Err: errors.New("connection refused")}}
	f.reports[2] = cluster.Report{Status: cluster.Status{Node: "c", Err: os.ErrDeadlineExceeded}}
	f.listErr = &cluster.QuorumError{Op: "list", Need: 2, Got: 1}
	f.jobsErr = f.listErr
	h = serve(t, f)
	contains(t, get(h, "/").Body.String(), "No lock can be acquired", "<bdi>b</bdi>", "connection refused", "Partial: some locks may be missing. 1 node answered, and 2 are needed", "order:42")
	contains(t, get(h, "/", "Accept", "application/json").Body.String(), `"partial": true`, `"verdict": "no_quorum"`, `"error": "connection refused"`)
	contains(t, get(h, "/lock?key=order:42").Body.String(), "No lock can be acquired", "Partial: ")
	contains(t, get(h, "/jobs").Body.String(), "Partial: some jobs that are done may be missing")
	contains(t, get(h, "/nodes").Body.String(), "No lock can be acquired", "silent", "down")
}

func TestHandler_NodesThatDoNotVoteYet(t *testing.T) {
	f := newFake()
	for i := range f.reports[1:] {
		f.reports[1+i].Votes, f.reports[1+i].VotesIn = false, 40*time.Second
	}
	contains(t, get(serve(t, f), "/nodes").Body.String(), "No lock can be acquired", "only 1 vote", "A quorum votes in 40 s", "in 40 s")
	f = newFake()
	f.reports[1].Votes = false
	contains(t, get(serve(t, f), "/").Body.String(), "Locks work; 2 of 3 nodes vote")
}

func TestHandler_ARefusedScanSaysWhatToDo(t *testing.T) {
	f := newFake()
	f.listErr = errors.New("NOPERM this user has no permissions to run the 'scan' command")
	contains(t, get(serve(t, f), "/").Body.String(), "ACL SETUSER name")
	f = newFake()
	f.listErr = &cluster.QuorumError{Op: "list", Need: 2, Got: 1, Nodes: []cluster.NodeError{{Node: "a", Err: errors.New("no such host NOPERM")}}}
	contains(t, get(serve(t, f), "/").Body.String(), "1 node answered, and 2 are needed", "!ACL SETUSER")
}

// No page waits for nodes that do not answer longer than two NodeTimeouts.
func TestHandler_AnswersWithinTwoNodeTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := busy()
		f.silent = true
		h := serve(t, f)
		defer closeNow(t, h)
		for _, path := range []string{"/", "/lock?key=order:42", "/nodes", "/jobs"} {
			for _, accept := range []string{"text/html", "application/json"} {
				began := time.Now()
				w := get(h, path, "Accept", accept)
				if took := time.Since(began); took > 2*testTimeout {
					t.Errorf("%s took %v", path, took)
				}
				if w.Code != http.StatusOK {
					t.Errorf("%s: status %d", path, w.Code)
				}
				contains(t, w.Body.String(), map[string]string{"text/html": "have not answered yet", "application/json": `"partial": true`}[accept])
			}
		}
	})
}

// A page waits for what it shows and for nothing else.
func TestHandler_NoPageWaitsForWhatItDoesNotShow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for path, shown := range map[string][]string{
			"/": {"survey", "list"}, "/lock?key=order:42": {"survey"}, "/nodes": {"survey", "check", "fences"}, "/jobs": {"survey", "list", "outcomes", "checkpoints"},
		} {
			f := busy()
			f.takes = map[string]time.Duration{"survey": time.Hour, "list": time.Hour, "check": time.Hour, "fences": time.Hour, "outcomes": time.Hour, "checkpoints": time.Hour}
			for _, part := range shown {
				f.takes[part] = 100 * time.Millisecond
			}
			h := serve(t, f)
			began := time.Now()
			contains(t, get(h, path, "Accept", "application/json").Body.String(), `"partial": false`)
			if took := time.Since(began); took != 100*time.Millisecond {
				t.Errorf("%s took %v", path, took)
			}
			closeNow(t, h)
		}
	})
}

func TestLocks_Paging(t *testing.T) {
	f := newFake()
	for i := range 250 {
		f.locks = append(f.locks, held(fmt.Sprintf("k:%03d", i), "", time.Now()))
	}
	h := serve(t, f)
	contains(t, get(h, "/?sort=key").Body.String(), "250 locks", "k:000", "k:099", "!k:100", "Page 1 of 3", `href="?page=2&amp;sort=key"`, "!Previous")
	contains(t, get(h, "/?sort=key&page=3").Body.String(), "k:200", "k:249", "!k:199", "!>Next<", ">Previous<")
	contains(t, get(h, "/?sort=-key&prefix=k:1").Body.String(), "100 locks of 250", "k:199", "!k:200", "!Page 1")
}

func TestLocks_Order(t *testing.T) {
	f := newFake()
	now := time.Now()
	for i, key := range []string{"b", "c", "a"} {
		l := held(key, key, now.Add(-time.Duration(i+1)*time.Minute))
		l.Waiting, l.Left = i, time.Duration(3-i)*time.Second
		f.locks = append(f.locks, l)
	}
	f.locks[1].Holder.Since = time.Time{} // not known
	h := serve(t, f)
	for sort, want := range map[string]string{"": "acb", "key": "abc", "-key": "cba", "age": "abc", "waiting": "acb", "-waiting": "bca",
		"left": "acb", "holder": "abc"} {
		var doc struct{ Locks []struct{ Key string } }
		if err := json.Unmarshal(get(h, "/?format=json&sort="+sort).Body.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, l := range doc.Locks {
			got += l.Key
		}
		if got != want {
			t.Errorf("sort %q: %s, want %s", sort, got, want)
		}
	}
}

func TestLocks_States(t *testing.T) {
	f := newFake()
	partial, unknown, taken, forever := held("p", "", time.Now()), held("u", "", time.Now()), held("t", "ann", time.Now()), held("f", "", time.Now())
	partial.State, unknown.State = lock.Partial, lock.Unknown
	taken.Holder.Writer = lock.WriterForced
	forever.Left = -1
	forever.Views[0].Holder, forever.Views[1].Votes = lock.Holder{}, false
	f.locks = []lock.Inspection{forever, partial, taken, unknown}
	h := serve(t, f)
	contains(t, get(h, "/").Body.String(), "changing hands", "unknown", "taken away", "never",
		"1 node with it; 1 node with it that cannot vote yet: b; 1 node without it: a")
	contains(t, get(h, "/lock?key=t").Body.String(), "Taken away from its holder")
	contains(t, get(h, "/lock?key=p").Body.String(), "Changing hands")
	contains(t, get(h, "/lock?key=u").Body.String(), "Unknown: too few nodes answered")
}

func TestNodes_Runbook(t *testing.T) {
	h := serve(t, busy(), func(c *Config) {
		c.Runbook = func(f cluster.Finding) string {
			if f.Severity == cluster.Danger {
				return "https://runbooks.example/eviction"
			}
			return "javascript:alert(1)"
		}
	})
	contains(t, get(h, "/nodes").Body.String(), `href="https://runbooks.example/eviction"`, "!javascript:")

	f := busy()
	f.findings = []cluster.Finding{{Node: "a", Text: "down", Fix: "start it", Runbook: "a-node-that-is-down"}, {Node: "b", Text: "odd", Fix: "see"}}
	contains(t, get(serve(t, f), "/nodes").Body.String(), "docs/oncall.md#a-node-that-is-down", "!docs/oncall.md\"")
}

// A page is as old as the oldest of what it shows.
func TestHandler_AsOfTheOldestPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, busy())
		defer closeNow(t, h)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		follow(ctx, t, h, "/").until("Locks work")
		time.Sleep(slower*h.cfg.Every - time.Second) // until just before what is asked for seldom is asked for again
		for path, want := range map[string]time.Duration{"/": time.Second, "/jobs": slower*h.cfg.Every - time.Second, "/nodes": slower*h.cfg.Every - time.Second} {
			var doc struct {
				AsOf time.Time `json:"as_of"`
			}
			if err := json.Unmarshal(get(h, path, "Accept", "application/json").Body.Bytes(), &doc); err != nil {
				t.Fatal(err)
			}
			if age := time.Since(doc.AsOf); age != want {
				t.Errorf("%s is %v old, want %v", path, age, want)
			}
		}
	})
}

// What Close begins is completed though its context ends first.
func TestClose_ClosesTheConnectionsThoughItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, odd, closed := newFake(), errors.New("odd"), 0
		f.stuck = make(chan struct{})
		h := newHandler(Config{Every: time.Second, Logger: discard}, f, testTimeout)
		h.closeSource = func(context.Context) error { closed++; return odd }
		h.survey.demand.touch()
		synctest.Wait()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := h.Close(ended); !errors.Is(err, context.Canceled) || closed != 0 {
			t.Errorf("with work under way: %v, closed %d times", err, closed)
		}
		close(f.stuck)
		synctest.Wait()
		if closed != 1 {
			t.Errorf("afterwards: closed %d times", closed)
		}
		if err := h.Close(t.Context()); err != odd || closed != 1 {
			t.Errorf("again: %v, closed %d times", err, closed)
		}
	})
}

// No inspection begins once the connections are being closed. The race detector
// judges as well.
func TestClose_NoInspectionBeginsAfterIt(t *testing.T) {
	for range 100 {
		f := newFake()
		h := newHandler(Config{Every: time.Hour, Logger: discard}, f, testTimeout)
		var before int
		h.closeSource = func(context.Context) error { before = f.counts()["inspect"]; return nil }
		var pages sync.WaitGroup
		for i := range 4 {
			pages.Go(func() { h.details.of(t.Context(), fmt.Sprint(i)) })
		}
		closeNow(t, h)
		pages.Wait()
		if after := f.counts()["inspect"]; after != before {
			t.Fatalf("%d inspections when the connections were closed, %d later", before, after)
		}
	}
}

func TestConfig(t *testing.T) {
	if _, err := Open(t.Context(), Config{Every: time.Millisecond}); !errors.Is(err, cluster.ErrConfig) {
		t.Errorf("Every: %v", err)
	}
	if _, err := Open(t.Context(), Config{}); !errors.Is(err, cluster.ErrConfig) {
		t.Errorf("no nodes: %v", err)
	}
	s := harness.Embedded(t, 1)
	if _, err := Open(t.Context(), Config{Cluster: cluster.Config{URLs: s.URLs()}, Prefix: strings.Repeat("p", quorumlock.MaxKeyLen+1)}); err == nil {
		t.Error("a prefix that is too long was taken")
	}
	var h *Handler
	if err := h.Close(t.Context()); err != nil {
		t.Errorf("Close of nil: %v", err)
	}
}
