package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

var discard = slog.New(slog.DiscardHandler)

// open is a handler and a locker, each with connections of its own, as of a
// page and of a program.
func open(t *testing.T, s harness.Set, change ...func(*Config)) (*Handler, *lock.Locker) {
	t.Helper()
	began := time.Now()
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: s.URLs(), Logger: discard})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	locker, err := lock.New(c, lock.Config{Owner: "worker"})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, locker)
	cfg := Config{Cluster: cluster.Config{URLs: s.URLs(), Logger: discard}, Every: leastEvery, Logger: discard}
	for _, change := range change {
		change(&cfg)
	}
	h, err := Open(t.Context(), cfg)
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, h)
	return h, locker
}

// shows waits until a page has all the texts.
func shows(t *testing.T, h *Handler, path string, texts ...string) {
	t.Helper()
	harness.Eventually(t, path+" with "+strings.Join(texts, ", "), func() bool {
		body := get(h, path).Body.String()
		for _, text := range texts {
			if !strings.Contains(body, text) {
				return false
			}
		}
		return true
	})
}

func TestOpen_ShowsTheLocksOfOtherProcesses(t *testing.T) {
	harness.Each(t, 5, func(t *testing.T, s harness.Set) {
		h, locker := open(t, s)
		began := time.Now()
		l, err := locker.Lock(t.Context(), "order:42")
		harness.Must(t, began, err)
		shows(t, h, "/", "Locks work", "order:42", "worker")
		shows(t, h, "/lock?key=order:42", "Held by", "worker")
		waits, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		other, _ := open(t, s)
		defer other.Close(t.Context())
		_, second := open(t, s)
		go func() {
			defer close(done)
			if l, err := second.Lock(waits, "order:42"); err == nil {
				_ = l.Release(context.Background())
			}
		}()
		shows(t, h, "/lock?key=order:42", "process <code>")
		stop()
		<-done
		harness.Must(t, began, l.Release(t.Context()))
		shows(t, h, "/", "No lock is held")
		shows(t, h, "/lock?key=order:42", "Free", "held by worker")
	})
}

// A lock that was released differs from one whose holder did not renew
// it.
func TestOpen_DiffersBetweenReleasedAndNotRenewed(t *testing.T) {
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		h, locker := open(t, s)
		began := time.Now()
		l, err := locker.Lock(t.Context(), "kept")
		harness.Must(t, began, err)
		for i := range s.Len() { // as by a process that has died
			value := strings.Repeat("P", 26) + "/1/host:1"
			harness.Must(t, began, harness.Client(t, s, i).Set(t.Context(), "lock:dead", value, 3*time.Second).Err())
		}
		shows(t, h, "/", "kept", "dead")
		harness.Must(t, began, l.Release(t.Context()))
		shows(t, h, "/", "No lock is held")
		for key, want := range map[string]string{"kept": "<b>released</b>", "dead": "<b>not renewed</b>"} {
			if body := get(h, "/lock?key="+key).Body.String(); !strings.Contains(body, want) {
				harness.Missed(t, began, "%s is not %s:\n%s", key, want, body) // too rarely listed, if the machine is slow
			}
		}
	})
}

func TestOpen_NamesNodesThatDoNotAnswer(t *testing.T) {
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		h, locker := open(t, s)
		began := time.Now()
		l, err := locker.Lock(t.Context(), "order:42")
		harness.Must(t, began, err)
		defer l.Release(context.Background())
		shows(t, h, "/", "order:42")
		name := func(i int) string {
			u, _ := url.Parse(s.URLs()[i])
			return u.Host
		}
		s.Pause(0)
		shows(t, h, "/", "Locks work; 1 of 3 nodes down", "<b><bdi>"+name(0)+"</bdi></b> has not answered for", "order:42")
		s.Stop(1)
		shows(t, h, "/", "No lock can be acquired", name(0), name(1), "Partial: some locks may be missing")
		shows(t, h, "/nodes", "No lock can be acquired", name(1))
		s.Resume(0)
		shows(t, h, "/nodes", "answers again")
	})
}

func TestOpen_ShowsElectionsAndJobs(t *testing.T) {
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		h, _ := open(t, s)
		began := time.Now()
		c, err := cluster.Open(t.Context(), cluster.Config{URLs: s.URLs(), Logger: discard})
		harness.Must(t, began, err)
		harness.CloseAtEnd(t, c)
		leases, err := lease.New(c, lease.Config{})
		harness.Must(t, began, err)
		harness.CloseAtEnd(t, leases)
		_, err = leases.Campaign(t.Context(), "scheduler", "vm-7")
		harness.Must(t, began, err)
		_, err = leases.RunOnce(t.Context(), "report:1", func(context.Context) error { return nil }, lease.Owner("vm-8"))
		harness.Must(t, began, err)
		l, err := leases.Acquire(t.Context(), "reindex")
		harness.Must(t, began, err)
		harness.Must(t, began, l.Checkpoint(t.Context(), make([]byte, 5000)))
		shows(t, h, "/jobs", "scheduler", "vm-7", "report:1", "vm-8", "reindex", "4.9 KiB")
		shows(t, h, "/lock?key=reindex", "4.9 KiB")
		contains(t, get(h, "/lock?key=election:scheduler").Body.String(), "!Checkpoint")
	})
}

func TestOpen_AReleaseByForceReachesTheHolder(t *testing.T) {
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		h, locker := open(t, s, releasing("ann"))
		began := time.Now()
		l, err := locker.Lock(t.Context(), "order:42")
		harness.Must(t, began, err)
		w := post(h, releaseLink("order:42"), form(t, h, "order:42"), "Accept", "application/json")
		var res struct {
			FreeInMs float64 `json:"free_in_ms"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &res); err != nil || w.Code != 200 || res.FreeInMs <= 0 {
			harness.Missed(t, began, "status %d: %s", w.Code, w.Body)
		}
		<-l.Done()
		if err := context.Cause(l.Context()); !errors.Is(err, lock.ErrLost) || !strings.Contains(fmt.Sprint(err), "ann") {
			harness.Missed(t, began, "the lease ended with %v", err)
		}
		shows(t, h, "/lock?key=order:42", "holder hangs", "by ann")
	})
}

// What doctor finds by walking all keys is found here as well.
func TestOpen_ShowsFenceCountersBeyondTheClock(t *testing.T) {
	s := harness.Embedded(t, 3)
	if err := harness.Client(t, s, 1).Set(t.Context(), "{lock:order:42}:fence", int64(1)<<52, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	h, _ := open(t, s)
	shows(t, h, "/nodes", "its fence counter of &#34;lock:order:42&#34;, 4503599627370496, lies beyond the clock", "redlock nodes --repair-fences lock:")
}

// The user of the pages may lack the right to list, and the pages say so.
func TestOpen_WithoutTheRightToScan(t *testing.T) {
	s := harness.Real(t, 1, redisserver.Options{})
	admin := harness.Client(t, s, 0)
	if err := admin.Do(t.Context(), "ACL", "SETUSER", "page", "on", ">secret", "~*", "&*", "+@all", "-scan").Err(); err != nil {
		t.Fatal(err)
	}
	h, _ := open(t, s, func(c *Config) {
		c.Cluster.URLs = []string{strings.Replace(s.URLs()[0], "redis://", "redis://page:secret@", 1)}
	})
	shows(t, h, "/", "Allow SCAN")
	contains(t, get(h, "/nodes").Body.String(), "!secret")
}

// A page of the 10,000 locks of the last listing, in another order.
func BenchmarkLocksPage(b *testing.B) {
	f := newFake()
	for i := range 10_000 {
		f.locks = append(f.locks, held(fmt.Sprintf("k:%05d", i), "worker", time.Now()))
	}
	h := newHandler(Config{Every: time.Hour, Logger: discard}, f, time.Second)
	defer h.Close(b.Context())
	get(h, "/")
	for b.Loop() {
		get(h, "/?sort=age")
	}
}

// Fifty open pages on five nodes with 10,000 locks: the nodes are asked about
// each lock once in a listing, as for one page.
func TestLoad_FiftyPagesOfTenThousandLocks(t *testing.T) {
	const locks, pages = 10_000, 50
	s := harness.Real(t, 5, redisserver.Options{})
	t.Parallel()
	fill(t, s, locks)
	h, _ := open(t, s, func(c *Config) {
		c.Every, c.Cluster.NodeTimeout = defaultEvery, 10*time.Second // on a machine that does much besides
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	before, cpu := asked(s), cpuSeconds(t, s)
	began := time.Now()
	follow(ctx, t, h, "/").until("10,000 locks")
	first := asked(s) - before
	for range pages - 1 {
		e := follow(ctx, t, h, "/?sort=age")
		go func() {
			for range e.next {
			}
		}()
	}
	_, changed := h.survey.latest()
	listed := func() time.Time { p, _ := h.survey.latest(); return p.locks.at }
	for last := listed(); listed().Equal(last); _, changed = h.survey.latest() {
		harness.Receive(t, "news of the nodes", changed)
	}
	if p, _ := h.survey.latest(); p.locks.err != nil {
		harness.Missed(t, began, "the nodes could not be listed: %v", p.locks.err)
	}
	second := asked(s) - before - first
	if first != 5*locks || second != 5*locks {
		t.Errorf("one page: %d questions about locks, with %d pages: %d; want %d", first, pages, second, 5*locks)
	}
	if os.Getenv("REDLOCK_TEST_LOAD") == "full" { // not judged: it is the machine that decides
		time.Sleep(time.Until(began.Add(time.Minute)))
	}
	t.Logf("cpu of a node: %.2f %% of a core over %v", 100*(cpuSeconds(t, s)-cpu)/5/time.Since(began).Seconds(), time.Since(began).Round(time.Second))
}

// fill gives each node some locks, as another library writes them.
func fill(t *testing.T, s harness.Set, locks int) {
	t.Helper()
	for i := range s.Len() {
		_, err := harness.Client(t, s, i).Pipelined(t.Context(), func(p redis.Pipeliner) error {
			for k := range locks {
				p.Set(t.Context(), fmt.Sprintf("lock:k:%05d", k), "value", time.Hour)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// asked is how often the nodes were asked how a lock stands: only the script
// that inspects a lock asks for the length of its queue here.
func asked(s harness.Set) (n int64) {
	for i := range s.Len() {
		n += s.Commands(i)["zcard"]
	}
	return n
}

// cpuSeconds is the processor time that the nodes have used.
func cpuSeconds(t *testing.T, s harness.Set) (sum float64) {
	t.Helper()
	for i := range s.Len() {
		info, err := harness.Client(t, s, i).Info(t.Context(), "cpu").Result()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(info) {
			var v float64
			if n, _ := fmt.Sscanf(line, "used_cpu_sys:%f", &v); n == 1 {
				sum += v
			}
			if n, _ := fmt.Sscanf(line, "used_cpu_user:%f", &v); n == 1 {
				sum += v
			}
		}
	}
	return sum
}
