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
	contains(t, get(h, "/?mode=retained").Body.String(), "cannot know which keys are retained")
	contains(t, get(h, "/?mode=shared").Body.String(), "!cannot know")
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
		"forced":    {"Taken away from its holder", "<dd>forced</dd>", "former holder may work until its TTL is over", "!Nobody works"},
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
		if notice := strings.Contains(get(h, "/?mode=retained").Body.String(), "cannot know"); notice == own {
			t.Errorf("with Lockers is %t; that retained keys are not known is said: %t", own, notice)
		}
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

// With many holders of each lock a list stays small, and says how many there are.
func TestLocks_TheListNamesTheFirstHoldersOnly(t *testing.T) {
	f := newFake()
	for n := range 100 {
		gpu := held(fmt.Sprintf("gpu:%02d", n), "", time.Now())
		gpu.Holder, gpu.Limit = lock.Holder{Writer: lock.WriterLimit}, lock.MaxLimit
		for s := range lock.MaxLimit {
			gpu.Slots = append(gpu.Slots, lock.Slot{Number: s, Holder: lock.Holder{Writer: lock.WriterRedlock, Host: "vm", PID: s, Name: fmt.Sprint("train ", s/2)}})
		}
		f.locks = append(f.locks, gpu)
	}
	catalog := held("catalog", "", time.Now())
	catalog.Holder = lock.Holder{Writer: lock.WriterShared}
	for n := range 6 {
		catalog.Readers = append(catalog.Readers, quorumlock.Reader{Holder: lock.Holder{Writer: lock.WriterRedlock, Name: fmt.Sprint("shop ", n)}})
	}
	h := serve(t, f)
	list := get(h, "/?format=json&sort=key&prefix=gpu").Body.String()
	if slots := strings.Count(list, `"slot":`); len(list) > 500_000 || slots != 100*listedParts {
		t.Errorf("the list has %d bytes and %d slots", len(list), slots)
	}
	contains(t, list, `"slots_total": 1024`)
	contains(t, get(h, "/?sort=key").Body.String(), "1024 of 1024 slots", ">train 0, train 1, train 2, train 3, train 4, …<")
	if one := get(h, "/lock?key=gpu:07&format=json").Body.String(); strings.Count(one, `"slot":`) != lock.MaxLimit {
		t.Errorf("the page of the lock has %d slots", strings.Count(one, `"slot":`))
	}
	f.set(func(f *fake) { f.locks = []lock.Inspection{catalog} })
	h = serve(t, f)
	contains(t, get(h, "/?format=json").Body.String(), `"readers_total": 6`, `"name": "shop 4"`, `!"name": "shop 5"`)
	contains(t, get(h, "/lock?key=catalog&format=json").Body.String(), `"name": "shop 5"`)
}

// Locks are ordered and filtered by what was worked out once for each.
func TestLocks_AreOrderedByWhatTheSurveyWorkedOut(t *testing.T) {
	all := entriesOf(ofEachMode())
	for i := range all {
		if all[i].mode != all[i].Mode() || !all[i].since.Equal(all[i].Since()) {
			t.Errorf("%s: mode %s, since %v", all[i].Key, all[i].mode, all[i].since)
		}
		all[i].mode, all[i].since = lock.ModeLimit, time.Unix(int64(i), 0)
	}
	for query, want := range map[string]string{"sort=age": "exclusive shared limit detached forced retained", "mode=limit&sort=-age": "retained forced detached limit shared exclusive"} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		f, err := filterOf(q)
		if err != nil {
			t.Fatal(err)
		}
		var d locksDoc
		d.fill(picture{locks: part[[]entry]{value: all}}, f)
		var keys []string
		for _, r := range d.Locks {
			keys = append(keys, r.Key)
		}
		if got := strings.Join(keys, " "); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

// Slots that were taken away are marked, and the key if no other is left.
func TestLock_SlotsThatWereTakenAwayAreMarked(t *testing.T) {
	f := newFake()
	limit := ofEachMode()[2]
	limit.Slots[1].Holder = lock.Holder{Writer: lock.WriterForced, Name: "ann"}
	f.locks = []lock.Inspection{limit}
	page := get(serve(t, f, releasing("ann")), "/lock?key=limit").Body.String()
	contains(t, page, "Held in", "released by force by ann", `<span class="badge">taken away</span>`, "<dd>limit</dd>",
		"free slots can be acquired meanwhile", "more than 4 may work at once", "!Nobody works")
	if n := strings.Count(page, `<span class="badge">`); n != 1 {
		t.Errorf("%d slots are marked", n)
	}
	limit.Slots[0].Holder.Writer = lock.WriterForced
	f.set(func(f *fake) { f.locks = []lock.Inspection{limit} })
	h := serve(t, f)
	contains(t, get(h, "/lock?key=limit").Body.String(), "<dd>forced</dd>", "each slot is free", "Slots that are free can be acquired", "!Held in", "!Nobody works")
	contains(t, get(h, "/?mode=forced").Body.String(), "2 of 4 slots", `<span class="mode forced">forced</span>`, "taken away")
}

// Without an answer of a quorum nothing is said of the holder.
func TestLock_OnlyALockThatIsHeldHasAHolderInItsFirstLine(t *testing.T) {
	f := newFake()
	limit := ofEachMode()[2]
	for state, want := range map[lock.State]string{lock.Unknown: "Unknown: too few nodes answered</p>", lock.Partial: "fewer nodes than a quorum have it</p>", lock.Held: "Held in <b>"} {
		limit.State = state
		f.set(func(f *fake) { f.locks = []lock.Inspection{limit} })
		contains(t, get(serve(t, f), "/lock?key=limit").Body.String(), want)
	}
}
