package fence_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/fence"
)

// shelf is a server whose writes are counted, and a client that sends tokens.
type shelf struct {
	t      *testing.T
	url    string
	client *http.Client
	writes int
	got    *http.Request // the last that was served
}

func newShelf(t *testing.T, s fence.Store, c fence.Checks) *shelf {
	t.Helper()
	x := &shelf{t: t}
	server := httptest.NewServer(c.Handler(s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x.writes++
		x.got = r
		w.WriteHeader(http.StatusNoContent)
	})))
	t.Cleanup(server.Close)
	x.url, x.client = server.URL, &http.Client{Transport: fence.RoundTripper{Base: server.Client().Transport}}
	return x
}

// put sends a request with these lines of the header, or without the header,
// and returns the answer with its problem.
func (x *shelf) put(ctx context.Context, lines ...string) (*http.Response, map[string]any) {
	x.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, x.url+"/order:42", strings.NewReader("packed"))
	pass(x.t, err)
	for _, line := range lines {
		r.Header.Add(fence.Header, line)
	}
	resp, err := x.client.Do(r)
	pass(x.t, err)
	x.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode == http.StatusNoContent {
		return resp, nil
	}
	if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
		x.t.Errorf("status %d has the type %q", resp.StatusCode, got)
	}
	stale := fence.StaleResponse(resp)
	if (stale != nil) != (resp.StatusCode == http.StatusPreconditionFailed) {
		x.t.Errorf("status %d is the error %v", resp.StatusCode, stale)
	}
	var doc map[string]any
	pass(x.t, json.NewDecoder(resp.Body).Decode(&doc))
	if doc["status"] != float64(resp.StatusCode) {
		x.t.Errorf("status %d has the document %v", resp.StatusCode, doc)
	}
	return resp, doc
}

// wants checks a status and how many requests were served.
func (x *shelf) wants(resp *http.Response, status, writes int) {
	x.t.Helper()
	if resp.StatusCode != status || x.writes != writes {
		x.t.Errorf("status %d and %d writes, want %d and %d", resp.StatusCode, x.writes, status, writes)
	}
}

func TestHandler_RefusesTheRequestOfALateHolder(t *testing.T) {
	onStores(t, func(t *testing.T, s forgetful) {
		x := newShelf(t, s, fence.Checks{})
		for i, key := range oddKeys() {
			before := x.writes
			old, now := fence.WithToken(t.Context(), key, int64(1001+i)), fence.WithToken(t.Context(), key, int64(2001+i))
			for _, ctx := range []context.Context{old, old, now} {
				resp, _ := x.put(ctx)
				if resp.StatusCode != http.StatusNoContent {
					t.Fatalf("%.40q: status %d", key, resp.StatusCode)
				}
			}
			resp, doc := x.put(old)
			x.wants(resp, http.StatusPreconditionFailed, before+3)
			if doc["type"] != "urn:redlock:stale-fencing-token" || doc["token"] != float64(1001+i) || doc["newest"] != float64(2001+i) {
				t.Errorf("the document is %v", doc)
			}
		}
	})
}

func TestHandler_TheHolderLearnsThatItIsStale(t *testing.T) {
	leases, s := newLeases(t), new(fence.Memory)
	x := newShelf(t, s, fence.Checks{})
	first, late := under(t, t.Context(), leases, "k\xff")
	pass(t, first.Release(t.Context()))
	second, ctx := under(t, t.Context(), leases, "k\xff")
	resp, _ := x.put(ctx)
	x.wants(resp, http.StatusNoContent, 1)
	r, err := http.NewRequestWithContext(context.WithoutCancel(late), http.MethodPut, x.url, nil) // as if it had not ended yet
	pass(t, err)
	resp, err = x.client.Do(r)
	pass(t, err)
	defer resp.Body.Close()
	x.wants(resp, http.StatusPreconditionFailed, 1)
	stale(t, fence.StaleResponse(resp), "k\xff", first.Token(), second.Token())
	if body, err := io.ReadAll(resp.Body); err != nil || !json.Valid(body) {
		t.Errorf("the body is %q, %v", body, err)
	}
}

func TestHandler_GivesItsTokensOn(t *testing.T) {
	x := newShelf(t, new(fence.Memory), fence.Checks{})
	resp, _ := x.put(t.Context(), "a;5, b;6", "c%20;7")
	x.wants(resp, http.StatusNoContent, 1)
	behind := new(fence.Memory)
	for key, token := range map[string]int64{"a": 5, "b": 6, "c ": 7} {
		pass(t, fence.Check(x.got.Context(), behind, key))
		stale(t, behind.CheckToken(t.Context(), key, token-1), key, token-1, token)
	}
}

// The tokens of a request are checked one by one, and each that passed is its
// holder's, whatever becomes of the request.
func TestHandler_ARefusedRequestKeepsTheTokensThatPassed(t *testing.T) {
	s := new(fence.Memory)
	pass(t, s.CheckToken(t.Context(), "b", 7))
	x := newShelf(t, s, fence.Checks{})
	resp, _ := x.put(t.Context(), "a;5, b;6, c;5")
	x.wants(resp, http.StatusPreconditionFailed, 0)
	stale(t, s.CheckToken(t.Context(), "a", 4), "a", 4, 5)
	pass(t, s.CheckToken(t.Context(), "b", 7))
	pass(t, s.CheckToken(t.Context(), "c", 4))
}

func TestHandler_RequestsWithoutAUsableToken(t *testing.T) {
	keys := func(r *http.Request) []string { return []string{strings.TrimPrefix(r.URL.Path, "/")} }
	for _, tt := range []struct {
		name   string
		checks fence.Checks
		lines  []string
		status int
		detail string
	}{
		{"none", fence.Checks{}, nil, 428, "Fencing-Token: KEY;TOKEN"},
		{"none, optional", fence.Checks{Optional: true}, nil, 204, ""},
		{"empty", fence.Checks{}, []string{""}, 400, "want KEY;TOKEN"},
		{"malformed", fence.Checks{}, []string{"order:42"}, 400, "want KEY;TOKEN"},
		{"malformed, optional", fence.Checks{Optional: true}, []string{"a;1", "b"}, 400, "want KEY;TOKEN"},
		{"stale, optional", fence.Checks{Optional: true}, []string{"seen;8"}, 412, "newer holder"},
		{"one of two stale", fence.Checks{}, []string{"new;1, seen;8"}, 412, "newer holder"},
		{"of another key", fence.Checks{Keys: keys}, []string{"another;1"}, 428, "no token of the key"},
		{"none of the keys, optional", fence.Checks{Keys: keys, Optional: true}, []string{"another;1"}, 428, "no token of the key"},
		{"of the key and a stale one", fence.Checks{Keys: keys}, []string{"order:42;1, seen;8"}, 204, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := new(fence.Memory)
			pass(t, s.CheckToken(t.Context(), "seen", 9))
			x := newShelf(t, s, tt.checks)
			resp, doc := x.put(t.Context(), tt.lines...)
			writes := 0
			if tt.status == http.StatusNoContent {
				writes = 1
			}
			x.wants(resp, tt.status, writes)
			if text, _ := doc["detail"].(string); !strings.Contains(text, tt.detail) {
				t.Errorf("the document is %v, want %q in it", doc, tt.detail)
			}
		})
	}
}

// broken is a store that cannot be asked.
type broken struct{ err error }

func (b broken) CheckToken(context.Context, string, int64) error { return b.err }

func TestHandler_ServesNothingThatWasNotChecked(t *testing.T) {
	secret := errors.New("password=secret")
	var failed error
	x := newShelf(t, broken{secret}, fence.Checks{Failed: func(_ *http.Request, err error) { failed = err }})
	resp, doc := x.put(t.Context(), "k;1")
	x.wants(resp, http.StatusServiceUnavailable, 0)
	if strings.Contains(doc["detail"].(string), "secret") || !errors.Is(failed, secret) {
		t.Errorf("the client got %v, Failed %v", doc, failed)
	}
	x = newShelf(t, broken{secret}, fence.Checks{})
	resp, _ = x.put(t.Context(), "k;1")
	x.wants(resp, http.StatusServiceUnavailable, 0)
}

// echo is a RoundTripper that answers with the header it was sent.
type echo struct{ sent *http.Request }

func (e *echo) RoundTrip(r *http.Request) (*http.Response, error) {
	e.sent = r
	return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody, Request: r}, nil
}

func TestRoundTripper_SendsTheTokensOfItsContext(t *testing.T) {
	nested := fence.WithToken(fence.WithToken(t.Context(), "outer", 5), "in ner", 6)
	keys := func(all ...string) func(*http.Request) []string { return func(*http.Request) []string { return all } }
	for _, tt := range []struct {
		name string
		ctx  context.Context
		keys func(*http.Request) []string
		has  string
		want string
	}{
		{"the innermost", nested, nil, "", "in%20ner;6"},
		{"no lock", t.Context(), nil, "", ""},
		{"those named", nested, keys("outer", "in ner"), "", "outer;5, in%20ner;6"},
		{"none named", nested, keys(), "", ""},
		{"one is there", nested, nil, "mine;1", "mine;1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := new(echo)
			r, err := http.NewRequestWithContext(tt.ctx, http.MethodPut, "http://any", nil)
			pass(t, err)
			if tt.has != "" {
				r.Header.Set(fence.Header, tt.has)
			}
			resp, err := fence.RoundTripper{Base: e, Keys: tt.keys}.RoundTrip(r)
			pass(t, err)
			_ = resp.Body.Close()
			if got := strings.Join(e.sent.Header.Values(fence.Header), "|"); got != tt.want {
				t.Errorf("sent %q, want %q", got, tt.want)
			}
			if got := r.Header.Get(fence.Header); got != tt.has {
				t.Errorf("the caller's request has %q now", got)
			}
		})
	}
	e, body := new(echo), &closing{Reader: strings.NewReader("any")}
	r, err := http.NewRequestWithContext(nested, http.MethodPut, "http://any", body)
	pass(t, err)
	_, err = fence.RoundTripper{Base: e, Keys: keys("outer", "none")}.RoundTrip(r)
	if !errors.Is(err, fence.ErrNoToken) || e.sent != nil || !body.closed {
		t.Errorf("without a lock on a key: %v, sent %v, the body was closed: %t", err, e.sent, body.closed)
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestStaleResponse_OfOtherAnswersIsNil(t *testing.T) {
	const doc = `{"type":"urn:redlock:stale-fencing-token","key":"k","token":1,"newest":2}`
	answer := func(status int, kind, body string) *http.Response {
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body))}
	}
	stale(t, fence.StaleResponse(answer(412, "application/problem+json", doc)), "k", 1, 2)
	for _, resp := range []*http.Response{
		answer(409, "application/problem+json", doc), answer(412, "application/json", doc), answer(412, "application/problem+json", doc[1:]),
		answer(412, "application/problem+json", `{"type":"about:blank"}`), answer(412, "application/problem+json", strings.Replace(doc, `"k"`, `"%"`, 1)),
	} {
		if err := fence.StaleResponse(resp); err != nil {
			t.Errorf("%d %s: %v", resp.StatusCode, resp.Header, err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || len(body) < 20 {
			t.Errorf("the body is %q, %v", body, err)
		}
	}
}
