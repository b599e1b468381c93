package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lock"
)

// ofEachMode is a lock of each mode, the older the later in the alphabet.
func ofEachMode() (all []lock.Inspection) {
	now := time.Now()
	by := func(writer lock.Writer, name string, age time.Duration) lock.Holder {
		return lock.Holder{Writer: writer, Process: "PROCESS1", Host: "vm", PID: 7, Name: name, Since: now.Add(-age)}
	}
	add := func(key string, h lock.Holder) *lock.Inspection {
		i := held(key, "", now)
		i.Holder = h
		all = append(all, i)
		return &all[len(all)-1]
	}
	add("exclusive", by(lock.WriterRedlock, "report", time.Minute)).Holder.MayRetain = true
	add("shared", lock.Holder{Writer: lock.WriterShared}).Readers = []quorumlock.Reader{
		{Holder: by(lock.WriterRedlock, "shop", time.Hour), Left: 5 * time.Second}, {Holder: by(lock.WriterRedlock, "search", 30*time.Minute), Left: 6 * time.Second}}
	limit := add("limit", lock.Holder{Writer: lock.WriterLimit, Name: "holders of Limit(4)"})
	limit.Limit = 4
	limit.Slots = []lock.Slot{{Number: 1, Holder: by(lock.WriterRedlock, "train", 2*time.Hour), Votes: 3, Left: 7 * time.Second},
		{Number: 3, Holder: by(lock.WriterRedlock, "train", time.Minute), Votes: 3, Left: 7 * time.Second}}
	add("detached", by(lock.WriterDetached, "feed", time.Minute))
	add("forced", by(lock.WriterForced, "ann", time.Minute))
	add("retained", by(lock.WriterRedlock, "keeper", time.Minute)).Retained = true
	return all
}

// listed is the keys of a page of locks as JSON, and their modes.
func listed(t *testing.T, body []byte) (keys, modes string) {
	t.Helper()
	var doc struct{ Locks []struct{ Key, Mode string } }
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	for _, l := range doc.Locks {
		keys += l.Key + " "
		modes += l.Mode + " "
	}
	return strings.TrimSpace(keys), strings.TrimSpace(modes)
}

func TestLocks_TheListShowsTheModeAndFiltersByIt(t *testing.T) {
	f := newFake()
	f.locks = ofEachMode()
	h := serve(t, f)
	for _, m := range modes {
		name := string(m)
		if keys, names := listed(t, get(h, "/?format=json&mode="+name).Body.Bytes()); keys != name || names != name {
			t.Errorf("filtered by %s: %q of the modes %q", name, keys, names)
		}
		contains(t, get(h, "/?mode="+name).Body.String(), "1 lock of 6", `<option selected>`+name+`</option>`, `<span class="mode `+name+`">`+name+`</span>`,
			"mode="+name+"&amp;sort=", "Show all")
	}
	contains(t, get(h, "/").Body.String(), "6 locks", "2 readers", "shop, search", "2 of 4 slots", ">train<", "2 h 00 min", ">feed<", "!retained</option>", "!Show all", `aria-label="Locks"`)
	contains(t, get(h, "/?mode=exclusive&older=5m").Body.String(), "No lock matches the filter")
	for query, want := range map[string]string{"older=5m&sort=age": "limit shared", "sort=mode": "exclusive shared limit detached forced retained",
		"sort=-mode": "retained forced detached limit shared exclusive", "mode=limit&prefix=x": ""} {
		if keys, _ := listed(t, get(h, "/?format=json&"+query).Body.Bytes()); keys != want {
			t.Errorf("%s: %q, want %q", query, keys, want)
		}
	}
	w := get(h, "/?mode=fast")
	contains(t, w.Body.String(), "not a mode; one of [exclusive shared limit detached forced retained]")
	if w.Code != 400 {
		t.Errorf("a mode that does not exist: %d", w.Code)
	}
	contains(t, get(h, "/?mode="+url.QueryEscape("\x1b[2J<b>")).Body.String(), "not a mode", "!\x1b", "!<b>")
}

func TestLocks_TheModeIsKeptFromPageToPage(t *testing.T) {
	f := newFake()
	for i := range 250 {
		l := held(fmt.Sprintf("k:%03d", i), "", time.Now())
		if i%2 == 0 {
			l.Holder, l.Limit = lock.Holder{Writer: lock.WriterLimit}, 4
		}
		f.locks = append(f.locks, l)
	}
	h := serve(t, f)
	contains(t, get(h, "/?sort=key&mode=limit").Body.String(), "125 locks of 250", "k:000", "!k:001", "k:198", "!k:200", "Page 1 of 2", `href="?mode=limit&amp;page=2&amp;sort=key"`,
		`href="?mode=limit&amp;sort=age"`, `<input type="hidden" name="sort" value="key">`)
	contains(t, get(h, "/?sort=key&mode=limit&page=2").Body.String(), "k:200", "k:248", "!k:249", `href="?mode=limit&amp;sort=key"`)
}

func TestStream_FiltersByMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		h := serve(t, f)
		defer closeNow(t, h)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		shared := follow(ctx, t, h, "/?mode=shared")
		shared.until("No lock is held")
		f.set(func(f *fake) { f.locks = ofEachMode()[:1] })
		contains(t, shared.until("0 locks of 1"), "No lock matches the filter", "!report")
		f.set(func(f *fake) { f.locks = ofEachMode() })
		contains(t, shared.until("1 lock of 6"), "shop, search", "!train", "!report")
	})
}

func TestLock_ThePageSaysWhatTheModeMeans(t *testing.T) {
	f := newFake()
	f.locks = ofEachMode()
	h := serve(t, f, releasing("ann"))
	for key, want := range map[string][]string{
		"exclusive": {"Held by", "report", "<dd>exclusive</dd>", "may retain it"},
		"shared":    {"Shared by", "2 readers", "<dd>shared</dd>", "shop (vm:7)", "From <b><bdi>2 readers</bdi></b>: <bdi>shop, search</bdi>"},
		"limit":     {"Held in", "2 of 4 slots", "<dd>limit</dd>", "train (vm:7)"},
		"detached":  {"Detached by", "feed", "kept for the process that attaches it", "From <b><bdi>feed</bdi></b> on <bdi>vm:7</bdi>"},
		"retained":  {"Retained by", "keeper", "Nobody works under it"},
		"forced":    {"Taken away from its holder", "<dd>forced</dd>"},
	} {
		contains(t, get(h, "/lock?key="+key).Body.String(), append(want, "!<dd></dd>")...)
	}
	contains(t, get(h, "/lock?key=nothing").Body.String(), "Free", "!<dt>Mode</dt>")
	contains(t, get(h, "/lock?key=limit&format=json").Body.String(), `"mode": "limit"`, `"limit": 4`, `"slot": 3`)
	contains(t, get(h, "/lock?key=exclusive&format=json").Body.String(), `"may_retain": true`)
	contains(t, get(h, "/?format=json").Body.String(), `"readers": [`, `"slot": 1`)
}

// Only the process that retains a key knows it; its pages can say so.
func TestOpen_ShowsWhatTheProcessRetains(t *testing.T) {
	s := harness.Embedded(t, 3)
	began := time.Now()
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: s.URLs()})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	k, err := lock.New(c, lock.Config{Retain: 20 * time.Second})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, k)
	harness.Receive(t, "the mailbox to open", face.In(c).Listen(deaf{}))
	l, err := k.Lock(t.Context(), "kept")
	harness.Must(t, began, err)
	harness.Must(t, began, l.Release(t.Context()))
	for _, own := range []bool{true, false} {
		cfg := Config{Cluster: cluster.Config{URLs: s.URLs()}}
		want := []string{"kept", "!retained"}
		if own {
			cfg.Lockers, want = []*lock.Locker{nil, k}, []string{"kept", `<span class="mode retained">`, "retained</option>"}
		}
		h, err := Open(t.Context(), cfg)
		harness.Must(t, began, err)
		contains(t, get(h, "/").Body.String(), want...)
		page := get(h, "/lock?key=kept").Body.String()
		if strings.Contains(page, "Retained by") != own {
			t.Errorf("the page of the lock, own is %t:\n%s", own, page)
		}
		closeNow(t, h)
	}
}

// deaf is a listener that no message concerns.
type deaf struct{}

func (deaf) Message(*nodeset.Node, string) bool { return false }
func (deaf) Unclaimed(*nodeset.Node, string)    {}
func (deaf) Gap(*nodeset.Node)                  {}
