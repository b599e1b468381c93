package web

import (
	"cmp"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/present"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/lock"
)

// pageSize is how many locks a page shows.
const pageSize = 100

// filter says which locks to show, and in which order.
type filter struct {
	Prefix string
	Older  time.Duration // held for at least this long
	Mode   lock.Mode     // "": any
	Sort   string        // a column; with "-" in front the other way round
	Page   int           // from 1

	OlderText string // as it was typed
}

// orders are the columns that can be sorted by, each in its natural direction:
// what a person looks for comes first.
var orders = map[string]func(a, b *entry) int{
	"key": func(a, b *entry) int { return cmp.Compare(a.Key, b.Key) },
	"mode": func(a, b *entry) int {
		return cmp.Compare(slices.Index(modes, a.mode), slices.Index(modes, b.mode))
	},
	"holder":  func(a, b *entry) int { return cmp.Compare(a.Holder.String(), b.Holder.String()) },
	"age":     oldest,
	"left":    func(a, b *entry) int { return cmp.Compare(untilFree(a), untilFree(b)) },
	"waiting": func(a, b *entry) int { return cmp.Compare(b.Waiting, a.Waiting) },
}

// oldest orders holds by age. Those whose age is not known come last.
func oldest(a, b *entry) int {
	first, second := a.since, b.since
	if first.IsZero() != second.IsZero() {
		return cmp.Compare(second.Unix(), first.Unix())
	}
	return first.Compare(second)
}

func untilFree(i *entry) time.Duration {
	if i.Left < 0 {
		return math.MaxInt64
	}
	return i.Left
}

func filterOf(q url.Values) (f filter, err error) {
	f = filter{Prefix: q.Get("prefix"), OlderText: q.Get("older"), Sort: cmp.Or(q.Get("sort"), "waiting"), Page: 1}
	if len(f.Prefix) > quorumlock.MaxKeyLen {
		return f, fmt.Errorf("prefix: %d bytes; at most %d", len(f.Prefix), quorumlock.MaxKeyLen)
	}
	if f.OlderText != "" {
		if f.Older, err = time.ParseDuration(f.OlderText); err != nil || f.Older < 0 {
			return f, fmt.Errorf("held longer than %q: not a time; write 30s, 5m or 1h", present.Line(f.OlderText))
		}
	}
	if f.Mode = lock.Mode(q.Get("mode")); f.Mode != "" && !slices.Contains(modes, f.Mode) {
		return f, fmt.Errorf("mode %q: not a mode; one of %v", present.Line(string(f.Mode)), modes)
	}
	if _, ok := orders[strings.TrimPrefix(f.Sort, "-")]; !ok {
		return f, fmt.Errorf("sort %q: not a column that can be sorted by", present.Line(f.Sort))
	}
	if text := q.Get("page"); text != "" {
		if f.Page, err = strconv.Atoi(text); err != nil || f.Page < 1 {
			return f, fmt.Errorf("page %q: not a number from 1", present.Line(text))
		}
	}
	return f, nil
}

// with is the query of the page with another order or number.
func (f filter) with(sort string, page int) string {
	q := url.Values{}
	for name, value := range map[string]string{"prefix": f.Prefix, "older": f.OlderText, "mode": string(f.Mode), "sort": sort} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if page > 1 {
		q.Set("page", strconv.Itoa(page))
	}
	return "?" + q.Encode()
}

// Filters reports whether the filter keeps any lock out.
func (f filter) Filters() bool { return f.Prefix != "" || f.OlderText != "" || f.Mode != "" }

// locksDoc is the page of all locks.
type locksDoc struct {
	frame
	Total   int       `json:"total"`   // before the filter
	Matched int       `json:"matched"` // after it
	Waiting int       `json:"waiting"` // processes, over all that match
	Number  int       `json:"page"`
	Pages   int       `json:"pages"`
	Locks   []lockRow `json:"locks"`

	Filter filter `json:"-"`

	retains bool // the pages know what their process retains
}

// lockRow is one lock.
type lockRow struct {
	Key     string     `json:"key"`
	State   string     `json:"state"`
	Mode    string     `json:"mode,omitempty"`
	Holder  *holderDoc `json:"holder"`
	Token   int64      `json:"token_at_most,omitempty"` // the end of the block of tokens that the holder owns
	AgeMs   *float64   `json:"age_ms"`                  // of the oldest of several holders; null: not known
	LeftMs  *float64   `json:"left_ms"`                 // null: never, or, in state unknown, not known
	Votes   int        `json:"votes"`
	Need    int        `json:"need"`
	Waiting int        `json:"waiting"`
	Nodes   []nodeView `json:"nodes"`
	holders

	mode   lock.Mode
	since  time.Time
	holder lock.Holder
	left   time.Duration
	term   time.Duration // the longest time left that was seen
	now    time.Time
}

type holderDoc struct {
	Writer  string     `json:"writer"`
	Process string     `json:"process,omitempty"`
	Host    string     `json:"host,omitempty"`
	PID     int        `json:"pid,omitempty"`
	Name    string     `json:"name,omitempty"`
	Since   *time.Time `json:"since,omitempty"`
	Retains bool       `json:"may_retain,omitempty"` // its process may retain the key after a release
}

// nodeView is what one node says of a lock.
type nodeView struct {
	Node    string     `json:"node"`
	Error   string     `json:"error,omitempty"`
	Votes   bool       `json:"votes"`
	Holder  *holderDoc `json:"holder"`
	LeftMs  *float64   `json:"left_ms,omitempty"`
	Fence   int64      `json:"fence,omitempty"`
	Waiting int        `json:"waiting"`

	view lock.View
	same bool // it names the holder that most nodes name
}

// rowOf is a lock as it is shown, with at most parts of those that hold it together.
func rowOf(i *entry, held map[string]sighting, now time.Time, parts int) lockRow {
	r := lockRow{Key: i.Key, State: i.State.String(), Mode: string(i.mode), Holder: holderOf(i.Holder), Token: i.Token, LeftMs: leftMs(i.Left),
		Votes: i.Votes, Need: i.Need, Waiting: i.Waiting,
		holders: holdersOf(i, now, parts), mode: i.mode, since: i.since, holder: i.Holder, left: i.Left, now: now}
	if i.State == lock.Unknown || i.State == lock.Free {
		r.LeftMs = nil
	}
	if i.mode == lock.ModeForced && i.State == lock.Held {
		r.State = "taken"
	}
	if !r.since.IsZero() {
		age := present.Ms(max(now.Sub(r.since), 0))
		r.AgeMs = &age
	}
	r.term = i.Left
	if s, ok := held[i.Key]; ok && s.Holder == i.Holder {
		r.term = max(r.term, s.term)
	}
	for _, v := range i.Views {
		n := nodeView{Node: v.Node, Votes: v.Votes, Holder: holderOf(v.Holder), Fence: v.Fence, Waiting: v.Waiting,
			view: v, same: v.Holder == i.Holder}
		if n.Holder != nil {
			n.LeftMs = leftMs(v.Left)
		}
		if v.Err != nil {
			n.Error = present.Error(v.Err)
		}
		r.Nodes = append(r.Nodes, n)
	}
	return r
}

func holderOf(h lock.Holder) *holderDoc {
	if h.Writer == lock.NoWriter {
		return nil
	}
	d := &holderDoc{Writer: h.Writer.String(), Process: h.Process, Host: h.Host, PID: h.PID, Name: h.Name, Retains: h.MayRetain}
	if !h.Since.IsZero() {
		d.Since = &h.Since
	}
	return d
}

func leftMs(d time.Duration) *float64 {
	if d < 0 {
		return nil
	}
	left := present.Ms(d)
	return &left
}

// locksPage lists the locks that match the query.
func (h *Handler) locksPage(v visit) (document, error) {
	f, err := filterOf(v.query)
	if err != nil {
		return nil, bad("%v", err)
	}
	p := h.survey.fresh(v.ctx, func(p *picture) []time.Time { return []time.Time{p.nodes.due, p.locks.due} })
	d := &locksDoc{frame: h.frame(p, time.Now()), Filter: f, retains: len(h.cfg.Lockers) > 0}
	cover(&d.frame, p.locks, "locks")
	if f.Mode == lock.ModeRetained && !d.retains {
		d.Notices = append(d.Notices, "These pages cannot know which keys are retained: only the process that retains a key knows it, and shows it on pages that it serves.")
	}
	d.fill(p, f)
	return d, nil
}

// fill sets the rows of the page.
func (d *locksDoc) fill(p picture, f filter) {
	d.Total = len(p.locks.value)
	var found []*entry
	for n := range p.locks.value {
		if i := &p.locks.value[n]; f.matches(i, d.now) {
			d.Waiting += i.Waiting
			found = append(found, i)
		}
	}
	name, reverse := strings.CutPrefix(f.Sort, "-")
	slices.SortStableFunc(found, func(a, b *entry) int {
		order := orders[name](a, b)
		if reverse {
			order = -order
		}
		if order == 0 {
			order = oldest(a, b)
		}
		return order
	})
	d.Matched, d.Pages = len(found), max((len(found)+pageSize-1)/pageSize, 1)
	d.Number = min(f.Page, d.Pages)
	d.Locks = []lockRow{}
	first := (d.Number - 1) * pageSize
	for _, i := range found[first:min(first+pageSize, len(found))] {
		d.Locks = append(d.Locks, rowOf(i, p.held, d.now, listedParts))
	}
}

// matches reports whether the filter lets a lock through. Holds whose age is
// not known are not older than anything.
func (f filter) matches(i *entry, now time.Time) bool {
	if !strings.HasPrefix(i.Key, f.Prefix) || f.Mode != "" && i.mode != f.Mode {
		return false
	}
	return f.Older == 0 || !i.since.IsZero() && now.Sub(i.since) >= f.Older
}

// column is a heading of the table of locks.
type column struct {
	Name, Title, Class string
	Link               string // "": it cannot be sorted by
	Sorted             string // as aria-sort
}

// lockColumns are the headings; a row's cells follow in templates/locks.html.
var lockColumns = []struct{ name, title, class string }{
	{"key", "Key", ""}, {"mode", "Mode", ""}, {"holder", "Holder", ""}, {"", "Token", "num"}, {"age", "Held for", "num"}, {"left", "Time left", ""},
	{"", "Nodes", ""}, {"waiting", "Waiting", "num"},
}

// Columns are the headings with the links that sort by them.
func (d *locksDoc) Columns() []column {
	var all []column
	for _, c := range lockColumns {
		col := column{Name: c.name, Title: c.title, Class: c.class}
		if c.name != "" {
			next := c.name
			switch d.Filter.Sort {
			case c.name:
				col.Sorted, next = direction(c.name, false), "-"+c.name
			case "-" + c.name:
				col.Sorted = direction(c.name, true)
			}
			col.Link = d.Filter.with(next, 1)
		}
		all = append(all, col)
	}
	return all
}

// direction is the order of a column for a screen reader: its natural order, or
// the reverse. The oldest and the most waited for come first by nature.
func direction(name string, reverse bool) string {
	if (name == "age" || name == "waiting") != reverse {
		return "descending"
	}
	return "ascending"
}

// Summary says how many locks there are.
func (d *locksDoc) Summary() string {
	text := present.Plural(d.Matched, "lock", "locks")
	if d.Matched != d.Total {
		text += " of " + present.Thousands(d.Total)
	}
	return text
}

// Waits says how many processes wait.
func (d *locksDoc) Waits() string {
	return present.Plural(d.Waiting, "process waits", "processes wait")
}

// Previous is the query of the page before, "" on the first.
func (d *locksDoc) Previous() string {
	if d.Number == 1 {
		return ""
	}
	return d.Filter.with(d.Filter.Sort, d.Number-1)
}

// Next is the query of the page after, "" on the last.
func (d *locksDoc) Next() string {
	if d.Number == d.Pages {
		return ""
	}
	return d.Filter.with(d.Filter.Sort, d.Number+1)
}
