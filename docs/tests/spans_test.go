package tests

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	api "go.opentelemetry.io/otel/trace"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lock"
)

// traced is a Locker whose spans are recorded.
func traced(t *testing.T, key func(string) string) (*lock.Locker, *tracetest.SpanRecorder) {
	t.Helper()
	spans, began := tracetest.NewSpanRecorder(), time.Now()
	c, err := cluster.Open(t.Context(), cluster.Config{
		URLs: harness.Embedded(t, 3).URLs(), NodeTimeout: patient, Logger: slog.New(slog.DiscardHandler),
		TracerProvider: trace.NewTracerProvider(trace.WithSpanProcessor(spans)), KeyAttribute: key,
	})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	k, err := lock.New(c, lock.Config{TTL: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	harness.CloseAtEnd(t, k)
	return k, spans
}

// said is all that a span tells.
func said(s trace.ReadOnlySpan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", s.Name(), s.Status().Code, s.Status().Description)
	for _, a := range s.Attributes() {
		fmt.Fprintf(&b, " %s=%s", a.Key, a.Value.Emit())
	}
	for _, e := range s.Events() {
		fmt.Fprintf(&b, " [%s", e.Name)
		for _, a := range e.Attributes {
			fmt.Fprintf(&b, " %s", a.Key)
		}
		b.WriteString("]")
	}
	return b.String()
}

func TestSpan_OfALock(t *testing.T) {
	t.Parallel()
	k, spans := traced(t, nil)
	broken := errors.New("the work failed")
	var token int64
	var inside api.SpanContext
	err := k.WithLock(t.Context(), "order:42", func(ctx context.Context) error {
		token, _ = lock.Token(ctx)
		inside = api.SpanContextFromContext(ctx)
		if err := k.WithLock(ctx, "order:42", nil); !errors.Is(err, lock.ErrReentrant) {
			t.Errorf("reentrant: %v", err)
		}
		return broken
	})
	if err != broken {
		t.Errorf("the error is %v", err)
	}
	func() {
		defer func() { recover() }()
		k.WithLock(t.Context(), "order:42", func(context.Context) error { panic("at the disco") })
	}()
	err = k.WithLock(t.Context(), "order:42", func(ctx context.Context) error { <-ctx.Done(); return nil }, lock.MaxHold(time.Millisecond))
	if !errors.Is(err, lock.ErrLost) {
		t.Errorf("held too long: %v", err)
	}
	ended := spans.Ended()
	if len(ended) != 4 {
		t.Fatalf("%d spans", len(ended))
	}
	refused, given, panicked, lost := ended[0], ended[1], ended[2], ended[3]
	events := " [redlock.wait redlock.wait] [redlock.hold redlock.hold]"
	if got, want := said(given), fmt.Sprintf("redlock.WithLock Unset  redlock.token=%d", token)+events; got != want {
		t.Errorf("given: %s, want %s", got, want)
	}
	if !inside.Equal(given.SpanContext()) || refused.Parent().SpanID() != inside.SpanID() {
		t.Error("what runs under the lock is not under its span")
	}
	if got, want := said(refused), "redlock.WithLock Error reentrant error.type=reentrant"; got != want {
		t.Errorf("refused: %s, want %s", got, want)
	}
	if got := said(panicked); !strings.HasSuffix(got, events) || panicked.Status().Code != codes.Unset {
		t.Errorf("left by a panic: %s", got)
	}
	if got := said(lost); !strings.HasPrefix(got, "redlock.WithLock Error lost redlock.token=") || !strings.HasSuffix(got, "error.type=lost"+events) {
		t.Errorf("lost: %s", got)
	}
	for _, s := range ended {
		if strings.Contains(said(s), "order") {
			t.Errorf("it tells the key unasked: %s", said(s))
		}
	}
}

func TestSpan_OfSeveralKeys(t *testing.T) {
	t.Parallel()
	k, spans := traced(t, func(key string) string { return key })
	keys := []string{"order:42", "order:43", "order:44"}
	if err := k.WithLocks(t.Context(), keys, func(ctx context.Context) error {
		if err := k.WithLocks(ctx, keys[:2], nil); !errors.Is(err, lock.ErrReentrant) {
			t.Errorf("reentrant: %v", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	ended := spans.Ended()
	if len(ended) != 2 {
		t.Fatalf("%d spans", len(ended))
	}
	if got, want := said(ended[0]), "redlock.WithLocks Error reentrant redlock.keys=2 error.type=reentrant"; got != want {
		t.Errorf("refused: %s, want %s", got, want)
	}
	if got, want := said(ended[1]), "redlock.WithLocks Unset  redlock.keys=3 [redlock.wait redlock.wait] [redlock.hold redlock.hold]"; got != want {
		t.Errorf("given: %s, want %s", got, want)
	}
}

func TestSpan_KeyAttributeMapsTheKey(t *testing.T) {
	t.Parallel()
	k, spans := traced(t, func(key string) string {
		kind, _, _ := strings.Cut(key, ":")
		return strings.TrimPrefix(kind, "secret")
	})
	for _, key := range []string{"order:42", "secret:7"} {
		if err := k.WithLock(t.Context(), key, func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	ended := spans.Ended()
	if got := said(ended[0]); !strings.Contains(got, " redlock.key=order ") {
		t.Errorf("%s", got)
	}
	if got := said(ended[1]); strings.Contains(got, "redlock.key") || strings.Contains(got, "secret") {
		t.Errorf("%s", got)
	}
}

func TestMetrics_KeyAttributeMapsTheKey(t *testing.T) {
	t.Parallel()
	s := &scrapes{text: map[string]string{}, shown: map[string]bool{}}
	r := newRig(t, s, 3)
	r.key = func(key string) string { kind, _, _ := strings.Cut(key, ":"); return kind }
	k := r.locker(r.open(true, patient), 20*time.Second)
	r.must(k.WithLock(t.Context(), "order:42", func(context.Context) error { return nil }))
	for _, metric := range []string{"wait_seconds", "attempt_seconds", "hold_seconds", "waiters"} {
		r.has("redlock_lock_"+metric+"{redlock_key=order}", 1, true)
	}
	if text := r.text("redlock_"); strings.Contains(text, "42") && strings.Contains(text, "order:42") {
		t.Error("the whole key is exported")
	}
}

func TestMetrics_EachOfSeveralKeysIsALockOfItsOwn(t *testing.T) {
	t.Parallel()
	s := &scrapes{text: map[string]string{}, shown: map[string]bool{}}
	r := newRig(t, s, 3)
	r.key = func(key string) string { return key }
	k := r.locker(r.open(true, patient), 20*time.Second)
	r.must(k.WithLocks(t.Context(), []string{"a", "b", "a"}, func(context.Context) error { return nil }))
	for _, key := range []string{"a", "b"} {
		for _, metric := range []string{"wait_seconds", "attempt_seconds", "hold_seconds", "waiters"} {
			r.has("redlock_lock_"+metric+"{redlock_key="+key+"}", 1, true)
		}
	}
}

func TestMetrics_OfSeveralLockersAddUpAndOutliveThem(t *testing.T) {
	t.Parallel()
	s := &scrapes{text: map[string]string{}, shown: map[string]bool{}}
	r := newRig(t, s, 3)
	c := r.open(true, patient)
	var all []*lock.Locker
	for _, key := range []string{"a", "b"} {
		k := r.locker(c, 20*time.Second)
		all = append(all, k)
		handOver(r, c, k, key, func() {})
	}
	r.has("redlock_lock_handovers_total", 2, true)
	for _, k := range all {
		r.must(k.Close(t.Context()))
	}
	r.has("redlock_lock_handovers_total", 2, true)
	handOver(r, c, r.locker(c, 20*time.Second), "c", func() {})
	r.has("redlock_lock_handovers_total", 3, true)
	r.must(c.Close(t.Context()))
	if text := r.text("redlock_lock_handovers"); text != "" {
		t.Errorf("after the Cluster was closed: %s", text)
	}
}

// handOver has one caller give the lock to another, once. The first attempt has k
// listen to other processes. Until it does, a hold is shared for a moment only,
// and is released instead if the machine is slow; so what k listens with is open
// before the second attempt.
func handOver(r *rig, c *cluster.Cluster, k *lock.Locker, key string, holding func()) {
	r.Helper()
	began, before := time.Now(), k.Stats().HandOvers
	for range 2 {
		shareOnce(r, k, key, holding)
		if k.Stats().HandOvers > before {
			return
		}
		harness.Receive(r.T, "the mailbox to open", face.In(c).Listen(deaf{}))
	}
	harness.Missed(r.T, began, "%q was not handed over", key)
}

// shareOnce has a caller hold the lock until another waits for it.
func shareOnce(r *rig, k *lock.Locker, key string, holding func()) {
	r.Helper()
	inside, waited := make(chan struct{}), make(chan struct{})
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		first <- k.WithLock(r.Context(), key, func(ctx context.Context) error {
			close(inside)
			select {
			case <-waited:
			case <-ctx.Done():
			}
			return nil
		})
	}()
	select {
	case <-inside:
	case err := <-first:
		r.must(err)
	}
	waits := k.Stats().Waits
	go func() { second <- k.WithLock(r.Context(), key, func(context.Context) error { return nil }) }()
	harness.Eventually(r.T, "the other to wait", func() bool { return k.Stats().Waits > waits })
	holding()
	close(waited)
	r.must(harness.Receive(r.T, "the first to end", first))
	r.must(harness.Receive(r.T, "the second to end", second))
}

// deaf is a listener that no message concerns.
type deaf struct{}

func (deaf) Message(*nodeset.Node, string) bool { return false }

func (deaf) Unclaimed(*nodeset.Node, string) {}

func (deaf) Gap(*nodeset.Node) {}
