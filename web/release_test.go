package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/lock"
)

// releasing lets everybody release locks, in this name.
func releasing(who string) func(*Config) {
	return func(c *Config) { c.Authorize = func(*http.Request) (string, bool) { return who, true } }
}

// releaseLink is where the form of a lock is sent.
func releaseLink(key string) string { return "/release?key=" + escapedQuery(key) }

// form is what the page of the lock sends when it is filled in, with changes.
func form(t *testing.T, h http.Handler, key string, changes ...string) string {
	t.Helper()
	var doc struct{ Seen string }
	if err := json.Unmarshal(get(h, "/lock?format=json&key="+url.QueryEscape(key)).Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	v := url.Values{"seen": {doc.Seen}, "confirm": {key}, "reason": {"holder hangs"}, "delay": {"ttl"}}
	for i := 0; i+1 < len(changes); i += 2 {
		v.Set(changes[i], changes[i+1])
	}
	return v.Encode()
}

func TestRelease_TakesTheLockAndLeavesAnAuditLine(t *testing.T) {
	f := busy()
	var log bytes.Buffer
	h := serve(t, f, releasing("ann"), func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	contains(t, get(h, "/lock?key=order:42").Body.String(), "Take the lock away", `method="post" action="release?key=order%3A42"`, "In about 8.0 s")
	w := post(h, releaseLink("order:42"), form(t, h, "order:42"))
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "lock?key=order%3A42" { // relative, for any prefix
		t.Errorf("status %d to %q:\n%s", w.Code, w.Header().Get("Location"), w.Body)
	}
	if got := fmt.Sprint(f.released); got != "[order:42 from nightly report (vm:4711) by ann]" {
		t.Errorf("released: %s", got)
	}
	contains(t, log.String(), "released by force", "key=order:42", "by=ann", `reason="holder hangs"`, `from="nightly report (vm:4711)"`, "free_in=7s", "remote=192.0.2.1")
	contains(t, get(h, "/lock?key=order:42").Body.String(), "forced", "by ann, from nightly report (vm:4711): holder hangs; others can acquire it within 7.0 s")
}

func TestRelease_AtOnceAndAsJSON(t *testing.T) {
	f := busy()
	h := serve(t, f, releasing("ann"))
	w := post(h, releaseLink("order:42"), form(t, h, "order:42", "delay", "none"), "Accept", "application/json")
	contains(t, w.Body.String(), `"key": "order:42"`, `"by": "ann"`, `"reason": "holder hangs"`, `"name": "nightly report"`)
	if got := fmt.Sprint(f.released); w.Code != http.StatusOK || got != "[order:42 from nightly report (vm:4711) now]" {
		t.Errorf("status %d, released: %s", w.Code, got)
	}
	contains(t, get(h, "/lock?key=order:42").Body.String(), "others can acquire it at once")
}

// A browser changes newlines in the fields of a form, and bytes that are not
// UTF-8, so the key is sent in the address. A key that nobody can type is
// confirmed as the page shows it.
func TestRelease_TheKeyIsSentExactly(t *testing.T) {
	for key, typed := range map[string]string{
		"order:42": "order:42", "a b+c%&?=#/'\"<": "a b+c%&?=#/'\"<", "odd\u202ekey\n": `odd\u202ekey\n`, "one\ntwo\r\n": `one\ntwo\r\n`,
		"\xff\xfe not UTF-8\x00": `\xff\xfe not UTF-8\x00`, strings.Repeat("\xff", quorumlock.MaxKeyLen): strings.Repeat(`\xff`, quorumlock.MaxKeyLen),
	} {
		f := newFake()
		f.locks = []lock.Inspection{held(key, "x", time.Now()), held(strings.ToValidUTF8(key, "\ufffd")+"?", "x", time.Now())}
		h := serve(t, f, releasing("ann"))
		body := get(h, "/lock?key="+escapedQuery(key)).Body.String()
		action := regexp.MustCompile(`method="post" action="([^"]*)"`).FindStringSubmatch(body)
		if action == nil || !strings.Contains(body, html.EscapeString(typed)) && !strings.Contains(body, strings.ReplaceAll(html.EscapeString(typed), "+", "&#43;")) {
			t.Fatalf("%.40q: the form is %q, in\n%.4000s", key, action, body)
		}
		w := post(h, "/"+html.UnescapeString(action[1]), form(t, h, key, "confirm", typed))
		if w.Code != http.StatusSeeOther || len(f.released) != 1 || !strings.HasPrefix(f.released[0], key+" from") {
			t.Errorf("%.40q: status %d, released %.100q:\n%.400s", key, w.Code, f.released, w.Body)
		}
	}
}

// A page that was opened before the nodes had answered has no form, and says
// how to get it.
func TestRelease_APageWithoutAHolderSaysHowToGetTheForm(t *testing.T) {
	h := serve(t, busy(), releasing("ann"))
	contains(t, get(h, "/lock?key=nothing").Body.String(), `<a href="lock?key=nothing">open the page again</a>`, "!<form")
	contains(t, get(h, "/lock?key=order:42").Body.String(), "<form", "!open the page again")
	contains(t, get(serve(t, busy()), "/lock?key=nothing").Body.String(), "!open the page again")
}

// A release of which the nodes do not say how it went ends all the same.
func TestRelease_EndsWithinItsNodeTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := busy()
		h := serve(t, f, releasing("ann"))
		defer closeNow(t, h)
		body := form(t, h, "order:42")
		f.set(func(f *fake) { f.silent, f.listErr = true, &cluster.QuorumError{Op: "inspect", Need: 2, Got: 0} })
		began := time.Now()
		w := post(h, releaseLink("order:42"), body)
		if took := time.Since(began); w.Code != http.StatusServiceUnavailable || took > releaseTimeouts*testTimeout {
			t.Errorf("status %d after %v", w.Code, took)
		}
	})
}

func TestRelease_IsRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		key     string // in the address
		changes []string
		headers []string
		status  int
		want    string
	}{
		{"wrong key typed", "order:42", []string{"confirm", "order:43"}, nil, 400, "confirm: is not the key"},
		{"nothing typed", "order:42", []string{"confirm", ""}, nil, 400, "confirm: is not the key"},
		{"no reason", "order:42", []string{"reason", "  "}, nil, 400, "reason: is missing"},
		{"long reason", "order:42", []string{"reason", strings.Repeat("x", 501)}, nil, 400, "reason: longer than 500"},
		{"no key", "", []string{"key", "order:42"}, nil, 400, "key: is missing in the address"},
		{"nothing seen", "order:42", []string{"seen", ""}, nil, 400, "seen: is missing"},
		{"another holder seen", "order:42", []string{"seen", "0123456789abcdef"}, nil, 409, "changed hands"},
		{"a lock that is free", "free", []string{"confirm", "free"}, nil, 409, "The lock is already free"},
		{"odd delay", "order:42", []string{"delay", "soon"}, nil, 400, "neither ttl nor none"},
		{"from another site", "order:42", nil, []string{"Sec-Fetch-Site", "cross-site"}, 403, "another site"},
		{"from another origin", "order:42", nil, []string{"Origin", "https://elsewhere.example"}, 403, "another site"},
		{"from no origin", "order:42", nil, []string{"Origin", "null"}, 403, "another site"},
		{"a form too large", "order:42", []string{"reason", strings.Repeat("x", maxForm)}, nil, 413, "too large"},
		{"a long key", strings.Repeat("k", quorumlock.MaxKeyLen+1), nil, nil, 400, "key: 65537 bytes; at most 65536"},
		{"a key that cannot be read", "%zz", nil, nil, 400, "query cannot be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := busy()
			h := serve(t, f, releasing("ann"))
			link := releaseLink(tt.key)
			if strings.HasPrefix(tt.key, "%") {
				link = "/release?key=" + tt.key
			}
			w := post(h, link, form(t, h, "order:42", tt.changes...), tt.headers...)
			if w.Code != tt.status {
				t.Errorf("status %d, want %d", w.Code, tt.status)
			}
			contains(t, w.Body.String(), tt.want)
			if len(f.released) > 0 {
				t.Errorf("released: %s", f.released)
			}
		})
	}
}

func TestRelease_OnlyByThoseWhoMay(t *testing.T) {
	f := busy()
	h := serve(t, f, func(c *Config) {
		c.Authorize = func(r *http.Request) (string, bool) {
			name, password, _ := r.BasicAuth()
			return name, password == "right"
		}
	})
	body := form(t, h, "order:42")
	contains(t, get(h, "/lock?key=order:42").Body.String(), "!Take the lock away")
	w := post(h, releaseLink("order:42"), body, "Authorization", "Basic YW5uOndyb25n") // ann:wrong
	contains(t, w.Body.String(), "You may not release locks")
	if w.Code != http.StatusForbidden || len(f.released) > 0 {
		t.Errorf("status %d, released %s", w.Code, f.released)
	}
	w = post(h, releaseLink("order:42"), body, "Authorization", "Basic YW5uOnJpZ2h0") // ann:right
	if w.Code != http.StatusSeeOther || len(f.released) != 1 {
		t.Errorf("status %d, released %s:\n%s", w.Code, f.released, w.Body)
	}
}

func TestRelease_WithoutAuthorizeNobodyMay(t *testing.T) {
	f := busy()
	h := serve(t, f)
	w := post(h, releaseLink("order:42"), form(t, h, "order:42"))
	if w.Code != http.StatusForbidden || len(f.released) > 0 {
		t.Errorf("status %d, released %s", w.Code, f.released)
	}
}

func TestRelease_FailuresAreToldAndAudited(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
	}{
		{&cluster.QuorumError{Op: "release by force", Need: 2, Got: 1}, 503},
		{lock.ErrNotHeld, 409},
		{fmt.Errorf("%w: by: too long", cluster.ErrConfig), 400},
		{errors.New("odd"), 500},
	} {
		f := busy()
		f.forceErr = tt.err
		h := serve(t, f, releasing("ann"))
		if w := post(h, releaseLink("order:42"), form(t, h, "order:42")); w.Code != tt.status {
			t.Errorf("%v: status %d, want %d", tt.err, w.Code, tt.status)
		}
		contains(t, get(h, "/lock?key=order:42").Body.String(), "by ann failed", "Reason: holder hangs")
	}
}

// Only what the person saw is taken: slots that have their holder still, and
// readers if no other has come.
func TestRelease_TakesWhatWasSeenOfSeveralHolders(t *testing.T) {
	by := func(name string) lock.Holder { return held("", name, time.Now().Add(-time.Minute)).Holder }
	limited := lock.Inspection{Key: "gpu", State: lock.Held, Holder: lock.Holder{Writer: lock.WriterLimit, Name: "holders of Limit(4)"}, Need: 2, Votes: 3, Limit: 4, Left: time.Minute, Views: held("", "", time.Now()).Views,
		Slots: []lock.Slot{{Number: 0, Holder: by("ann"), Left: time.Minute}, {Number: 2, Holder: by("bob"), Left: time.Second}}}
	shared := lock.Inspection{Key: "catalog", State: lock.Held, Holder: lock.Holder{Writer: lock.WriterShared}, Need: 2, Votes: 3, Left: time.Minute, Views: held("", "", time.Now()).Views,
		Readers: []quorumlock.Reader{{Holder: by("ann"), Left: time.Minute}, {Holder: by("bob"), Left: time.Second}}}
	f := busy()
	f.locks = []lock.Inspection{limited, shared}
	h := serve(t, f, releasing("eve"))
	contains(t, get(h, "/lock?key=gpu").Body.String(), "2 of 4 slots", "<bdi>ann (vm:4711)</bdi>", "<bdi>bob (vm:4711)</bdi>")
	contains(t, get(h, "/lock?key=catalog").Body.String(), "Readers", "<bdi>ann (vm:4711)</bdi>", "<bdi>bob (vm:4711)</bdi>")
	contains(t, get(h, "/lock?format=json&key=gpu").Body.String(), `"slot": 2`, `"name": "bob"`)
	slots, readers := form(t, h, "gpu"), form(t, h, "catalog")
	release := func(key, form string, want int) {
		t.Helper()
		if w := post(h, releaseLink(key), form); w.Code != want {
			t.Errorf("%s: status %d:\n%s", key, w.Code, w.Body)
		}
	}
	f.set(func(f *fake) { f.locks[1].Readers = append(f.locks[1].Readers, quorumlock.Reader{Holder: by("cid")}) })
	release("catalog", readers, http.StatusConflict)
	f.set(func(f *fake) { f.locks[1].Readers = f.locks[1].Readers[1:2] }) // one of the two has left
	release("catalog", readers, http.StatusSeeOther)
	f.set(func(f *fake) { f.locks[0].Slots[0].Holder = by("cid") })
	release("gpu", slots, http.StatusSeeOther)
	f.set(func(f *fake) { f.locks[0].Slots = f.locks[0].Slots[:1] })
	release("gpu", slots, http.StatusConflict)
	if got := fmt.Sprint(f.released); got != "[catalog from readers by eve gpu from slots [2] by eve]" {
		t.Errorf("released: %s", got)
	}
}
