package web

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

func TestMain(m *testing.M) { harness.Main(m) }

const testTimeout = 250 * time.Millisecond // the NodeTimeout of handlers on fake nodes

// fake is a source that says what the test gives it, and counts what it is
// asked.
type fake struct {
	mu       sync.Mutex
	quorum   int
	reports  []cluster.Report
	findings []cluster.Finding
	fences   []cluster.Finding
	locks    []lock.Inspection
	listErr  error
	jobs     []lease.Outcome
	jobsErr  error
	points   []lease.CheckpointInfo
	asked    map[string]int
	released []string
	freeIn   time.Duration
	forceErr error
	silent   bool                     // nothing is answered until the context ends
	stuck    chan struct{}            // nothing is answered until it is closed, if it is set
	takes    map[string]time.Duration // how long an answer takes
}

func newFake() *fake {
	f := &fake{quorum: 2, asked: map[string]int{}, freeIn: 7 * time.Second}
	for _, name := range []string{"a", "b", "c"} {
		f.reports = append(f.reports, cluster.Report{Status: cluster.Status{Node: name, Up: true, Votes: true, Version: "7.2.4"},
			Latency: time.Millisecond, Persistence: "always", Eviction: "noeviction"})
	}
	return f
}

// ask counts a question, and waits as long as its answer takes.
func (f *fake) ask(ctx context.Context, what string) {
	f.mu.Lock()
	f.asked[what]++
	silent, stuck, takes := f.silent, f.stuck, f.takes[what]
	f.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	if takes > 0 {
		time.Sleep(takes) // in a bubble
	}
	if silent {
		<-ctx.Done()
	}
}

func (f *fake) counts() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.asked)
}

func (f *fake) set(change func(*fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fake) Quorum() int { return f.quorum }

func (f *fake) Status() []cluster.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []cluster.Status
	for _, r := range f.reports {
		all = append(all, r.Status)
	}
	return all
}

func (f *fake) Survey(ctx context.Context) []cluster.Report {
	f.ask(ctx, "survey")
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]cluster.Report{}, f.reports...)
}

func (f *fake) Check(ctx context.Context) []cluster.Finding {
	f.ask(ctx, "check")
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.findings
}

func (f *fake) CheckFences(ctx context.Context) []cluster.Finding {
	f.ask(ctx, "fences")
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fences
}

func (f *fake) List(ctx context.Context, _ string) ([]lock.Inspection, error) {
	f.ask(ctx, "list")
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.locks, f.listErr
}

func (f *fake) Inspect(ctx context.Context, key string) (lock.Inspection, error) {
	f.ask(ctx, "inspect")
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range f.locks {
		if i.Key == key {
			i.Waiters = []quorumlock.Waiter{{Process: "WAITER01", Since: time.Now().Add(-time.Minute)}}
			return i, f.listErr
		}
	}
	free := lock.Inspection{Key: key, Need: f.quorum}
	for _, r := range f.reports {
		free.Views = append(free.Views, lock.View{Node: r.Node, Votes: true})
	}
	return free, f.listErr
}

func (f *fake) Outcomes(ctx context.Context, _ string) ([]lease.Outcome, error) {
	f.ask(ctx, "outcomes")
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.jobs, f.jobsErr
}

func (f *fake) Checkpoints(ctx context.Context) (keys []string, err error) {
	f.ask(ctx, "checkpoints")
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.points {
		keys = append(keys, c.Key)
	}
	return keys, f.jobsErr
}

func (f *fake) CheckpointInfo(ctx context.Context, key string) (lease.CheckpointInfo, bool, error) {
	f.ask(ctx, "checkpoint")
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.points {
		if c.Key == key {
			return c, true, nil
		}
	}
	return lease.CheckpointInfo{}, false, nil
}

func (f *fake) ForceRelease(_ context.Context, seen lock.Inspection, by string) (time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.released = append(f.released, fmt.Sprintf("%s from %s by %s", seen.Key, fromWhom(seen), by))
	return f.freeIn, f.forceErr
}

func (f *fake) ForceReleaseNow(_ context.Context, seen lock.Inspection) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.released = append(f.released, fmt.Sprintf("%s from %s now", seen.Key, seen.Holder))
	return f.forceErr
}

// fromWhom is the holder of a lock, or the numbers of its slots.
func fromWhom(seen lock.Inspection) string {
	if seen.Limit == 0 {
		return seen.Holder.String()
	}
	var numbers []int
	for _, s := range seen.Slots {
		numbers = append(numbers, s.Number)
	}
	return fmt.Sprint("slots ", numbers)
}

// held is a lock that all nodes of a fake have.
func held(key, owner string, since time.Time) lock.Inspection {
	h := lock.Holder{Writer: lock.WriterRedlock, Process: "PROCESS1", Host: "vm", PID: 4711, Name: owner, Since: since}
	i := lock.Inspection{Key: key, State: lock.Held, Holder: h, Votes: 3, Need: 2, Token: 1000, Left: 8 * time.Second}
	for _, name := range []string{"a", "b", "c"} {
		i.Views = append(i.Views, lock.View{Node: name, Votes: true, Holder: h, Left: i.Left, Fence: 1000})
	}
	return i
}

// serve makes a handler of a source, closed at the end of the test.
func serve(t *testing.T, src source, change ...func(*Config)) *Handler {
	t.Helper()
	cfg, err := Config{Logger: slog.New(slog.DiscardHandler)}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(&cfg)
	}
	h := newHandler(cfg, src, testTimeout)
	t.Cleanup(func() { closeNow(t, h) })
	return h
}

func closeNow(t *testing.T, h *Handler) {
	if err := h.Close(context.Background()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// get is the answer to a request for a page.
func get(h http.Handler, path string, headers ...string) *httptest.ResponseRecorder {
	return do(h, httptest.NewRequest(http.MethodGet, path, nil), headers...)
}

// post is the answer to a form.
func post(h http.Handler, path, form string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return do(h, r, headers...)
}

func do(h http.Handler, r *http.Request, headers ...string) *httptest.ResponseRecorder {
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// contains fails unless text has every part, and none that begins with "!".
func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if not, ok := strings.CutPrefix(part, "!"); ok == strings.Contains(text, cutMark(part, not, ok)) {
			t.Errorf("%q: found is %t; in\n%s", cutMark(part, not, ok), ok, text)
		}
	}
}

func cutMark(part, not string, ok bool) string {
	if ok {
		return not
	}
	return part
}

// events reads the stream of a page, one event after another.
type events struct {
	t    *testing.T
	pipe *io.PipeReader
	next chan string
	code chan int
}

// follow opens the stream of a page until ctx ends.
func follow(ctx context.Context, t *testing.T, h http.Handler, path string, headers ...string) *events {
	t.Helper()
	in, out := io.Pipe()
	e := &events{t: t, pipe: in, next: make(chan string, 1024), code: make(chan int, 1)}
	r := httptest.NewRequest(http.MethodGet, path, nil).WithContext(ctx)
	r.Header.Set("Accept", "text/event-stream")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	go func() {
		w := &streamWriter{header: http.Header{}, out: out}
		h.ServeHTTP(w, r)
		out.Close()
	}()
	go func() {
		defer close(e.next)
		var event strings.Builder
		buffer := make([]byte, 1<<20)
		for {
			n, err := in.Read(buffer)
			event.Write(buffer[:n])
			for {
				head, rest, ok := strings.Cut(event.String(), "\n\n")
				if !ok {
					break
				}
				event.Reset()
				event.WriteString(rest)
				e.next <- head
			}
			if err != nil {
				return
			}
		}
	}()
	return e
}

// streamWriter is a ResponseWriter whose body is read while it is written.
type streamWriter struct {
	header http.Header
	out    io.Writer
}

func (w *streamWriter) Header() http.Header         { return w.header }
func (w *streamWriter) WriteHeader(int)             {}
func (w *streamWriter) Write(p []byte) (int, error) { return w.out.Write(p) }
func (w *streamWriter) Flush()                      {}

// until reads events until one has the text.
func (e *events) until(text string) string {
	e.t.Helper()
	for event := range e.next {
		if strings.Contains(event, text) {
			return event
		}
	}
	e.t.Fatalf("the stream ended before an event with %q", text)
	return ""
}
