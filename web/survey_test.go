package web

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// questions is what the nodes are asked in a minute by so many open pages.
func questions(t *testing.T, f *fake, pages int, path func(int) string) (counts map[string]int) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, f)
		defer closeNow(t, h)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for i := range pages {
			e := follow(ctx, t, h, path(i))
			go func() {
				for range e.next {
				}
			}()
		}
		time.Sleep(time.Minute - time.Second) // between two rounds
		counts = f.counts()
	})
	return counts
}

func TestSurvey_QuestionsDoNotGrowWithPages(t *testing.T) {
	all := func(i int) string { return fmt.Sprintf("/?prefix=%d", i) }
	one := questions(t, busy(), 1, all)
	if one["survey"] < 20 || one["survey"] > 31 || one["list"] != one["survey"] || one["check"] > 7 || one["outcomes"] > 7 {
		t.Errorf("one page: %v", one)
	}
	if fifty := questions(t, busy(), 50, all); !maps.Equal(one, fifty) {
		t.Errorf("one page: %v, fifty: %v", one, fifty)
	}
	kinds := []string{"/", "/nodes", "/jobs", "/?sort=age"}
	if fifty := questions(t, busy(), 50, func(i int) string { return kinds[i%len(kinds)] }); !maps.Equal(one, fifty) {
		t.Errorf("one page: %v, fifty of all kinds: %v", one, fifty)
	}
}

// Pages of one lock share its inspections, and pages of different locks a
// budget.
func TestSurvey_InspectionsAreBounded(t *testing.T) {
	one := questions(t, busy(), 1, func(int) string { return "/lock?key=order:42" })
	same := questions(t, busy(), 50, func(int) string { return "/lock?key=order:42" })
	if one["inspect"] < 20 || !maps.Equal(one, same) {
		t.Errorf("one page: %v, fifty of one lock: %v", one, same)
	}
	const rounds = 31
	if each := questions(t, busy(), 50, func(i int) string { return fmt.Sprintf("/lock?key=k%d", i) }); each["inspect"] > rounds*detailsPerRound {
		t.Errorf("fifty locks: %v", each)
	}
}

// A release is shown at once, whatever the round has inspected already.
func TestSurvey_ALockIsInspectedAnewAfterARelease(t *testing.T) {
	f := busy()
	h := serve(t, f, func(c *Config) { c.Every = time.Hour })
	for i := range detailsPerRound + 5 {
		get(h, fmt.Sprintf("/lock?key=k%d", i))
	}
	h.details.drop("k0")
	get(h, "/lock?key=k0")
	get(h, "/lock?key=k1")
	if got := f.counts()["inspect"]; got != detailsPerRound+1 {
		t.Errorf("%d inspections, want %d", got, detailsPerRound+1)
	}
}

func TestSurvey_ALargeSetIsListedLessOften(t *testing.T) {
	f := newFake()
	f.locks = make([]lock.Inspection, 10_000)
	if got := questions(t, f, 1, func(int) string { return "/nodes" }); got["list"] < 2 || got["list"] > 4 || got["survey"] < 20 {
		t.Errorf("10,000 locks: %v", got)
	}
}

// However many keys the nodes have, what walks all of them takes them a tenth
// of the time at most.
func TestSurvey_ListingsTakeATenthOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := busy()
		const each = 3 * time.Second
		listings := []string{"list", "outcomes", "checkpoints", "fences"}
		f.takes = map[string]time.Duration{}
		for _, l := range listings {
			f.takes[l] = each
		}
		h := serve(t, f)
		defer closeNow(t, h)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		e := follow(ctx, t, h, "/")
		go func() {
			for range e.next {
			}
		}()
		const long = time.Hour
		time.Sleep(long)
		var took time.Duration
		for _, l := range listings {
			if n := f.counts()[l]; n == 0 {
				t.Errorf("%s: never", l)
			}
			took += time.Duration(f.counts()[l]) * each
		}
		if took > long/10 || took < long/20 {
			t.Errorf("listings took %v of %v", took, long)
		}
	})
}

func TestSurvey_NobodyLooksNobodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := busy()
		h := serve(t, f)
		defer closeNow(t, h)
		time.Sleep(time.Minute)
		if got := f.counts(); len(got) > 0 {
			t.Errorf("before any request: %v", got)
		}
		get(h, "/")
		time.Sleep(linger + time.Minute)
		before := f.counts()
		time.Sleep(time.Hour)
		if after := f.counts(); len(before) == 0 || !maps.Equal(before, after) {
			t.Errorf("%v, an hour later %v", before, after)
		}
		f.set(func(f *fake) { f.locks = append(f.locks, held("new", "", time.Now())) })
		contains(t, get(h, "/").Body.String(), "new") // it is not what was known an hour ago
	})
}

func TestSurvey_CheckpointsAreSeenToChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.points = []lease.CheckpointInfo{{Key: "job", Token: 1, Revision: 1, Size: 10}, {Key: "taken over", Token: 1, Revision: 1}}
		h := serve(t, f)
		defer closeNow(t, h)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		e := follow(ctx, t, h, "/jobs")
		e.until("10 bytes")
		f.set(func(f *fake) {
			f.points = []lease.CheckpointInfo{{Key: "job", Token: 1, Revision: 2, Size: 20}, {Key: "taken over", Token: 1}}
		})
		e.until("20 bytes")
		p, _ := h.survey.latest()
		if all := p.checkpoints.value.all; all[0].changed.IsZero() || !all[1].changed.IsZero() {
			t.Errorf("changed: %v, %v", all[0].changed, all[1].changed)
		}
		contains(t, get(h, "/lock?key=job").Body.String(), "20 bytes", "s ago", "!before the first check")
	})
}

func TestStream_ShowsWhatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		h := serve(t, f)
		defer closeNow(t, h)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		locks, nodes := follow(ctx, t, h, "/"), follow(ctx, t, h, "/nodes")
		locks.until("No lock is held")
		f.set(func(f *fake) { f.locks = []lock.Inspection{held("order:42", "ann", time.Now())} })
		locks.until("order:42")
		f.set(func(f *fake) { f.locks = nil; f.reports[1].Up = false })
		locks.until("No lock is held")
		nodes.until("1 of 3 nodes down")
	})
}

// Pages with the same address share an event, so it is complete though the
// person who asked first has left.
func TestStream_EventsDoNotDependOnTheFirstVisitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, busy())
		defer closeNow(t, h)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := httptest.NewRequest(http.MethodGet, "/lock?key=order:42", nil).WithContext(ctx)
		event, err := h.liveParts(r, pages[slices.IndexFunc(pages, func(p *page) bool { return p.Path == "lock" })])
		if err != nil {
			t.Fatal(err)
		}
		contains(t, string(event), "nightly report", "WAITER01", "!Partial")
	})
}

func TestStream_EventsHaveNothingOfTheVisitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, busy(), func(c *Config) {
			c.Authorize = func(r *http.Request) (string, bool) { name, _, ok := r.BasicAuth(); return name, ok }
		})
		defer closeNow(t, h)
		contains(t, get(h, "/lock?key=order:42", "Authorization", "Basic YW5uOg==").Body.String(), "Take the lock away", "ann") // ann:
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 2 {
			event := follow(ctx, t, h, "/lock?key=order:42", "Authorization", "Basic YW5uOg==").until("nightly report")
			contains(t, event, "!Take the lock away", "!ann", "!<form")
		}
	})
}

func TestStream_ShowsAReleaseAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, busy(), releasing("ann"), func(c *Config) { c.Every = time.Hour })
		defer closeNow(t, h)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		e := follow(ctx, t, h, "/lock?key=order:42")
		e.until("nightly report")
		time.Sleep(time.Minute)
		released := time.Now()
		if w := post(h, releaseLink("order:42"), form(t, h, "order:42")); w.Code != http.StatusSeeOther {
			t.Fatalf("status %d:\n%s", w.Code, w.Body)
		}
		e.until("holder hangs")
		if late := time.Since(released); late > time.Second {
			t.Errorf("shown after %v", late)
		}
	})
}

// A stream over HTTP/2 ends at its write deadline, though nothing is being
// written.
func TestStream_LivesOnWithoutNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, newFake(), func(c *Config) { c.Every = time.Hour })
		defer closeNow(t, h)
		var protocols http.Protocols
		protocols.SetUnencryptedHTTP2(true)
		here, there := net.Pipe()
		server := &http.Server{Handler: h, Protocols: &protocols}
		defer server.Close()
		go server.Serve(&oneConn{conn: here, closed: make(chan struct{})})
		transport := &http.Transport{Protocols: &protocols, DialContext: func(context.Context, string, string) (net.Conn, error) { return there, nil }}
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://pages/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/event-stream")
		res, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.ProtoMajor != 2 {
			t.Fatalf("protocol %s", res.Proto)
		}
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			if lines.Text() == ":" { // the comment that says there is no news
				return
			}
		}
		t.Errorf("the stream ended: %v", lines.Err())
	})
}

// oneConn is a listener with one connection.
type oneConn struct {
	conn   net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *oneConn) Accept() (conn net.Conn, err error) {
	if conn, l.conn = l.conn, nil; conn != nil {
		return conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

func TestStream_EndsWithTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, newFake())
		e := follow(t.Context(), t, h, "/")
		e.until("No lock is held")
		closeNow(t, h)
		for range e.next {
		}
	})
}

func TestStream_TooMany(t *testing.T) {
	h := serve(t, newFake())
	for range maxStreams {
		if !h.survey.demand.join(maxStreams) {
			t.Fatal("refused before the last")
		}
	}
	w := get(h, "/", "Accept", "text/event-stream")
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("status %d", w.Code)
	}
	h.survey.demand.leave()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	follow(ctx, t, h, "/").until("No lock is held")
}

// listings are what a journal makes of a lock that is listed every two seconds,
// as changes leave it.
func listings(changes ...func(i *lock.Inspection)) (j *journal) {
	j = newJournal()
	began := time.Now()
	voters := map[string]bool{"a": true, "b": true, "c": true}
	var seen map[string]sighting
	for n, change := range changes {
		at := began.Add(time.Duration(n) * 2 * time.Second)
		i := held("k", "ann", began)
		change(&i)
		if i.Need == 0 {
			seen = j.locks(seen, nil, at, at, voters)
		} else {
			seen = j.locks(seen, []lock.Inspection{i}, at, at, voters)
		}
	}
	return j
}

// left is a lock that has this time left.
func left(d time.Duration) func(*lock.Inspection) {
	return func(i *lock.Inspection) {
		i.Left = d
		for v := range i.Views {
			i.Views[v].Left = d
		}
	}
}

func TestJournal_SeesWhatChangesBetweenListings(t *testing.T) {
	is := left(8 * time.Second)
	none := func(i *lock.Inspection) { *i = lock.Inspection{} }
	bob := func(i *lock.Inspection) { *i = held("k", "bob", time.Now()) }
	forced := func(i *lock.Inspection) { i.Holder.Writer = lock.WriterForced }
	partial := func(i *lock.Inspection) { i.State = lock.Partial }
	unseen := func(i *lock.Inspection) { // by two of three nodes
		i.Views[0].Err, i.Views[1].Err = os.ErrDeadlineExceeded, os.ErrDeadlineExceeded
	}
	by := func(w lock.Writer, d time.Duration) func(*lock.Inspection) { // another kind of program
		return func(i *lock.Inspection) {
			left(d)(i)
			i.Holder = lock.Holder{Writer: w}
			for v := range i.Views {
				i.Views[v].Holder = i.Holder
			}
		}
	}
	const ann = "ann (vm:4711)"
	for name, tt := range map[string]struct {
		changes []func(*lock.Inspection)
		want    string // the newest event
	}{
		"the first look":                {[]func(*lock.Inspection){is}, ""},
		"nothing":                       {[]func(*lock.Inspection){is, is, left(5 * time.Second), is}, ""},
		"acquired":                      {[]func(*lock.Inspection){none, is}, "acquired by " + ann},
		"passed on":                     {[]func(*lock.Inspection){is, bob}, "passed on from " + ann + " to bob (vm:4711)"},
		"released":                      {[]func(*lock.Inspection){is, none}, "released before its TTL was over; held by " + ann},
		"released, by a slow release":   {[]func(*lock.Inspection){is, partial, none}, "released before its TTL was over; held by " + ann},
		"it changes hands for a moment": {[]func(*lock.Inspection){is, partial, is}, ""},
		"not renewed":                   {[]func(*lock.Inspection){is, left(4 * time.Second), left(time.Second), none}, "not renewed before its TTL was over; held by " + ann},
		"not renewed, then another's":   {[]func(*lock.Inspection){is, left(time.Second), bob}, "not renewed before its TTL was over; held by " + ann + "; acquired by bob (vm:4711)"},
		"redsync, which does not renew": {[]func(*lock.Inspection){by(lock.WriterRedsync, 8*time.Second), by(lock.WriterRedsync, time.Second), none}, "gone released or expired; held by redsync"},
		"redsync, released":             {[]func(*lock.Inspection){by(lock.WriterRedsync, 8*time.Second), none}, "released before its TTL was over; held by redsync"},
		"another library":               {[]func(*lock.Inspection){by(lock.WriterForeign, 8*time.Second), none}, "gone released or expired; held by another library"},
		"a short TTL":                   {[]func(*lock.Inspection){left(time.Second), none}, "gone released or expired; held by " + ann},
		"late, but not over":            {[]func(*lock.Inspection){is, left(3 * time.Second), none}, "released before its TTL was over; held by " + ann},
		"it never expires":              {[]func(*lock.Inspection){left(-1), none}, "released before its TTL was over; held by " + ann},
		"too few nodes had it":          {[]func(*lock.Inspection){unseen, none}, "gone released or expired; held by " + ann},
		"taken away":                    {[]func(*lock.Inspection){is, forced}, "taken away by force from its holder"},
		"taken away, then free":         {[]func(*lock.Inspection){is, forced, none}, "free others can acquire it, after it was taken away from its holder"},
		"taken away, then acquired":     {[]func(*lock.Inspection){is, forced, bob}, "acquired by bob (vm:4711)"},
	} {
		got := ""
		if all := listings(tt.changes...).of(func(event) bool { return true }, 1); len(all) > 0 {
			got = all[0].Kind + " " + all[0].Text
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// restarting is nodes, some of which restart during the second listing.
type restarting struct {
	*fake
	nodes int
}

func (r *restarting) List(context.Context, string) ([]lock.Inspection, error) {
	if r.asked["list"]++; r.asked["list"] == 1 {
		return []lock.Inspection{held("k", "ann", time.Now())}, nil
	}
	for i := range r.nodes {
		r.reports[i].Votes = false
	}
	return nil, nil
}

// A node that has restarted, or is down, may have lost the key, whatever it said
// before the listing.
func TestJournal_BelievesNoNodeThatMayHaveLostTheKey(t *testing.T) {
	for nodes, want := range []string{released, released, gone, gone} {
		s := newSurvey(&restarting{newFake(), nodes}, time.Hour)
		s.askNodes(t.Context())
		s.askLocks(t.Context())
		s.askLocks(t.Context())
		if all := s.journal.of(func(event) bool { return true }, 2); len(all) != 1 || all[0].Kind != want {
			t.Errorf("%d of 3 nodes restart: %v, want %q", nodes, all, want)
		}
	}
}

func TestJournal_KeepsTheNewestEvents(t *testing.T) {
	j := newJournal()
	for range maxEvents {
		j.add(event{Key: "z"})
	}
	if n := len(j.of(func(event) bool { return true }, 2*maxEvents)); n != maxEvents {
		t.Errorf("%d events are kept", n)
	}
}

func TestShellQuoting(t *testing.T) {
	for word, want := range map[string]string{"order:42": "order:42", "two words": "'two words'", "it's": `'it'\''s'`, "": "''", "$(rm)": "'$(rm)'",
		"-x": "'-x'", "a\nb": `$'a\nb'`, "it's\u202e": `$'it\'s\u202e'`, "a\n\"": `$'a\n\"'`} {
		if got := quoted(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}
