package main

import (
	"context"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestDemo_EndsWithItsTableAndEveryPromiseHeld(t *testing.T) {
	t.Parallel()
	demo := launch(t, nil, "demo")
	demo.done()
	checkDemo(t, demo, "node 2 is stopped", "node 4 is frozen", "node 2 is started again", "node 4 thaws")
}

func TestDemo_LeavesGivenNodesAlone(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	demo := launch(t, nil, "demo", "--duration", "5s", "--nodes", strings.Join(s.URLs(), ","))
	demo.done()
	checkDemo(t, demo, "left alone")
	if strings.Contains(demo.stdout.String(), "node 2 is stopped") {
		t.Error("a given node was stopped")
	}
}

// done waits for the end. A demo without a quorum, because the machine is busy,
// proves nothing.
func (p *program) done() {
	p.t.Helper()
	if p.ended() == exitFailure && strings.Contains(p.stdout.String(), "is this machine busy?") {
		harness.Missed(p.t, p.began, "too few nodes answered in time:\n%s", p.stdout)
	}
	p.exit(0)
}

func checkDemo(t *testing.T, demo *program, events ...string) {
	t.Helper()
	out := demo.stdout.String()
	rows := []string{`orders +\d`, `locks +\d`, `hand-overs +\d`, `waits +\d`, `overlaps +0 `, `wait for the lock .*p50`, `.* p99`, `.* longest`}
	if strings.Contains(out, "is this machine busy?") {
		t.Log("the machine is too busy to check everything")
		events = nil
	} else {
		events = append(events, "sleeps past its TTL", "REJECTED")
		rows = append(rows, `losses +[1-9]`, `rejected writes +[1-9]`)
	}
	for _, want := range events {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in the demo", want)
		}
	}
	for _, row := range rows {
		if !regexp.MustCompile(`(?m)^ +` + row).MatchString(out) {
			t.Errorf("no row %q", row)
		}
	}
	if !strings.HasSuffix(out, "\nEvery promise held.\n") {
		t.Error("the last line differs")
	}
	if strings.Contains(out, "\x1b") {
		t.Error("colour although the output is not a terminal")
	}
	if lines := strings.Count(out, "\n"); lines > 60 {
		t.Errorf("%d lines are too many", lines)
	}
	if errs := demo.stderr.String(); errs != "" {
		demo.wrong("on standard error:\n%s", errs)
	}
	if t.Failed() {
		t.Logf("the demo:\n%s", out)
	}
}

func TestDemo_FitsATerminalOf80Columns(t *testing.T) {
	var out strings.Builder
	m := scene()
	m.printer = &printer{begun: time.Now(), w: &out, width: 80}
	m.asleep.wrote = true
	long := "worker A got the order 1795577563601922 once more, although another worker had it at that moment and said so"
	r := result{orders: 123456, holds: 123456, waits: 123456, rejected: 1, p50: time.Millisecond, longest: time.Minute,
		kept: []string{"one holder at a time", long}, broken: []string{long}}
	m.introduce()
	m.say(fault, "node 2", "%s", long)
	m.summarize(r)
	text := out.String()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d characters: %s", n, line)
		}
	}
	m.width = 0
	out.Reset()
	m.introduce()
	m.say(fault, "node 2", "%s", long)
	m.summarize(r)
	numbers := regexp.MustCompile(`(?m)^ *[\d.]+s `)
	whole := func(s string) []string { return strings.Fields(numbers.ReplaceAllString(s, "")) }
	if want := whole(out.String()); !slices.Equal(whole(text), want) {
		t.Errorf("at 80 columns a word is cut or lost:\n%s", text)
	}
}

// scene returns a demo in which only the events happened that a test records.
func scene() *demo {
	return &demo{printer: &printer{w: io.Discard}, store: &store{written: []write{{1, 100, "A"}}}, gauge: &gauge{}}
}

func TestDemo_Result_ShowsEveryBrokenPromise(t *testing.T) {
	if r := scene().result(); len(r.broken) > 0 {
		t.Fatalf("broken promises although nothing happened: %q", r.broken)
	}
	for _, tt := range []struct {
		name, want string
		spoil      func(*demo)
	}{
		{"two holders", "one holder at a time: workers A and B", func(m *demo) {
			m.gauge.enter(t.Context(), "A", 1)
			m.gauge.enter(t.Context(), "B", 2)
		}},
		{"a token twice", "every token larger", func(m *demo) {
			m.gauge.enter(t.Context(), "A", 7)()
			m.gauge.enter(t.Context(), "B", 7)()
		}},
		{"an old token accepted", "no write with an old token", func(m *demo) {
			m.store.written = append(m.store.written, write{2, 99, "B"})
		}},
		{"the late write accepted", "no write with an old token", func(m *demo) { m.asleep.wrote = true }},
		{"an order twice", "every order done once", func(m *demo) {
			m.store.written = append(m.store.written, write{1, 101, "B"})
		}},
		{"an order left out", "every order done once, none left out: 1 before order 3", func(m *demo) {
			m.store.written = append(m.store.written, write{3, 101, "B"})
		}},
		{"no orders", "work continues", func(m *demo) { m.store.written = nil }},
		{"a strange error", "no error that should not be", func(m *demo) {
			m.unexpected = append(m.unexpected, "worker A: strange")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := scene()
			tt.spoil(m)
			r := m.result()
			if len(r.broken) != 1 || !strings.HasPrefix(r.broken[0], tt.want) {
				t.Errorf("broken: %q, want one that begins with %q", r.broken, tt.want)
			}
			var out strings.Builder
			m.w = &out
			m.summarize(r)
			if !strings.HasSuffix(out.String(), "\n1 of 6 promises broken.\n") {
				t.Errorf("the last line differs:\n%s", out.String())
			}
		})
	}
}

func TestGauge_Enter_CountsNoOverlapAfterALoss(t *testing.T) {
	g := &gauge{}
	lost, lose := context.WithCancel(t.Context())
	g.enter(lost, "A", 1)
	next := g.after(1)
	lose()
	g.enter(t.Context(), "B", 2)()
	g.enter(lost, "A", 1)() // a late visitor that knows of its loss
	if len(g.overlaps)+len(g.disorder) > 0 || g.holds != 2 {
		t.Errorf("overlaps %q, disorder %q, %d holds", g.overlaps, g.disorder, g.holds)
	}
	if v := <-next; v.who != "B" || v.token != 2 {
		t.Errorf("after A came %+v", v)
	}
}

func TestStore_Finish_RefusesOldTokens(t *testing.T) {
	s := &store{}
	n, err := s.next(5)
	if n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := s.next(6); err != nil { // another holder that only read
		t.Fatal(err)
	}
	if err := s.finish(5, n, "A"); err == nil || s.rejected != 1 || s.count() != 0 {
		t.Errorf("an old token was accepted: %v, %d rejected", err, s.rejected)
	}
	if err := s.finish(6, n, "B"); err != nil {
		t.Error(err)
	}
}
