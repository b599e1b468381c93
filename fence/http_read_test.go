package fence_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// ask sends a request through the handler and returns its status and document.
func ask(t *testing.T, h http.Handler, method, header string) (int, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "/order:42", nil)
	r.Header.Set(fence.Header, header)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestHandler_ReadsOfSharedLocks(t *testing.T) {
	keys := func(*http.Request) []string { return []string{"k"} }
	for name, c := range map[string]fence.Checks{"all tokens": {}, "those of keys": {Keys: keys}} {
		t.Run(name, func(t *testing.T) {
			m := new(fence.Memory)
			var served *http.Request
			h := c.Handler(m, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { served = r }))
			for _, tt := range []struct {
				method, header string
				status         int
				text           string
			}{
				{"PUT", "k;7", 200, ""},
				{"GET", "k;7;shared", 200, ""},
				{"HEAD", "k;9;shared", 200, ""},
				{"GET", "k;7;shared", 200, ""},
				{"PUT", "k;7", 412, `"reader":true`},
				{"GET", "k;9", 412, "newest"}, // the header of a program that does not know readers
				{"PUT", "k;11;shared", 403, "without Shared"},
				{"POST", "k;11;shared", 403, "without Shared"},
				{"OPTIONS", "k;11;shared", 403, "without Shared"},
				{"get", "k;11;shared", 403, "without Shared"},
				{"GET", "k;10", 200, ""},
				{"PUT", "k;10", 200, ""},
				{"GET", "k;9;shared", 412, `"newest":10`},
				{"GET", "k;10;shared", 200, ""},
				{"PUT", "k;10", 412, `"reader":true`},
				{"GET", "k;10;Shared", 400, "whole number"},
			} {
				served = nil
				status, text := ask(t, h, tt.method, tt.header)
				if status != tt.status || !strings.Contains(text, tt.text) || (served != nil) != (status == 200) {
					t.Errorf("%s with %s: %d %s, served %t; want %d with %q", tt.method, tt.header, status, text, served != nil, tt.status, tt.text)
				}
				if served != nil && strings.HasSuffix(tt.header, ";shared") {
					refusesToWrite(t, fence.Check(served.Context(), m, "k"))
					pass(t, fence.CheckRead(served.Context(), m, "k"))
				}
			}
		})
	}
}

// Nothing of a request is kept that is refused because it writes.
func TestHandler_AWriteUnderASharedLockKeepsNoToken(t *testing.T) {
	m := new(fence.Memory)
	h := fence.Handler(m, http.NotFoundHandler())
	if status, text := ask(t, h, "PUT", "a;5;shared, k;7;shared"); status != http.StatusForbidden {
		t.Errorf("%d %s", status, text)
	}
	pass(t, m.CheckToken(t.Context(), "a", 4))
}

// Of several tokens, those of readers are checked as reads, and one of a writer
// suffices to write.
func TestHandler_AWriteUnderOneLockAndAReadUnderAnother(t *testing.T) {
	keys := func(r *http.Request) []string { return r.Header.Values("Keys") }
	for _, tt := range []struct {
		name, header string
		keys         []string
		status       int
	}{
		{"the last is shared", "a;5, k;7;shared", nil, http.StatusOK},
		{"the first is shared", "k;7;shared, a;5", nil, http.StatusOK},
		{"of keys", "a;5, k;7;shared", []string{"a", "k"}, http.StatusOK},
		{"only the shared one is of keys", "a;5, k;7;shared", []string{"k"}, http.StatusForbidden},
		{"the reader is late", "a;5, k;6;shared", nil, http.StatusPreconditionFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, c := new(fence.Memory), fence.Checks{}
			pass(t, m.CheckToken(t.Context(), "k", 7))
			if tt.keys != nil {
				c.Keys = keys
			}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/", nil)
			r.Header.Set(fence.Header, tt.header)
			r.Header["Keys"] = tt.keys
			w := httptest.NewRecorder()
			c.Handler(m, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				pass(t, fence.Check(r.Context(), m, "a"))
				refusesToWrite(t, fence.Check(r.Context(), m, "k"))
			})).ServeHTTP(w, r)
			if w.Code != tt.status {
				t.Fatalf("%d %s, want %d", w.Code, w.Body, tt.status)
			}
			if tt.status == http.StatusOK {
				staleReader(t, m.CheckToken(t.Context(), "k", 7), "k", 7, 7)
				pass(t, m.CheckToken(t.Context(), "a", 5))
			}
		})
	}
}

func TestHandler_WithoutAKeyToCheckARequestPasses(t *testing.T) {
	none := fence.Checks{Keys: func(*http.Request) []string { return nil }}
	if status, text := ask(t, none.Handler(new(fence.Memory), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), "PUT", "k;7;shared"); status != http.StatusOK {
		t.Errorf("%d %s", status, text)
	}
}

// Under several locks of one call, of which some are shared, a request carries
// all tokens, also through a server that passes it on.
func TestRoundTripper_SendsEveryTokenOfOneCall(t *testing.T) {
	k, m, ctx := newLocker(t), new(fence.Memory), t.Context()
	last := newShelf(t, m, fence.Checks{Keys: func(*http.Request) []string { return []string{"account:7", "rates"} }})
	pass(t, k.WithLocks(ctx, []string{"account:3", "account:7"}, func(ctx context.Context) error {
		three, _ := lock.TokenOf(ctx, "account:3")
		seven, _ := lock.TokenOf(ctx, "account:7")
		rates, _ := lock.TokenOf(ctx, "rates")
		want := fmt.Sprintf("account:3;%d, account:7;%d, rates;%d;shared", three, seven, rates)
		resp, _ := last.put(ctx)
		last.wants(resp, http.StatusNoContent, 1)
		if got := last.got.Header.Get(fence.Header); got != want {
			t.Errorf("the header is %q, want %q", got, want)
		}
		staleReader(t, m.CheckToken(ctx, "rates", rates), "rates", rates, rates)
		stale(t, m.CheckToken(ctx, "account:7", seven-1), "account:7", seven-1, seven)

		between := httptest.NewServer(fence.Handler(new(fence.Memory), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			resp, _ := last.put(r.Context())
			w.WriteHeader(resp.StatusCode)
		})))
		defer between.Close()
		resp, err := last.client.Do(mustRequest(t, ctx, between.URL))
		pass(t, err)
		pass(t, resp.Body.Close())
		last.wants(resp, http.StatusNoContent, 2)
		if got := last.got.Header.Get(fence.Header); got != want {
			t.Errorf("the header is %q behind a server, want %q", got, want)
		}

		return k.WithLock(ctx, "within", func(ctx context.Context) error {
			h := http.Header{}
			pass(t, fence.SetHeader(ctx, h))
			if token, _ := lock.Token(ctx); h.Get(fence.Header) != fmt.Sprintf("within;%d", token) {
				t.Errorf("under a lock within it the header is %q", h.Get(fence.Header))
			}
			pass(t, fence.SetHeader(fence.WithToken(ctx, "received", 5), h))
			if h.Get(fence.Header) != "received;5" {
				t.Errorf("under a received token within it the header is %q", h.Get(fence.Header))
			}
			return nil
		})
	}, lock.SharedKeys("rates")))
	resp, doc := last.put(ctx, "account:7;5;shared, rates;5;shared")
	last.wants(resp, http.StatusForbidden, 2)
	if doc["key"] != "account:7" {
		t.Errorf("%v", doc)
	}
}

// A holder that became a reader is refused by itself, and the answer does not
// say that it was another.
func TestHandler_TheAnswerIsTrueAfterADowngrade(t *testing.T) {
	k, m := newLocker(t), new(fence.Memory)
	x := newShelf(t, m, fence.Checks{})
	pass(t, k.WithLock(t.Context(), "k", func(ctx context.Context) error {
		token, _ := lock.Token(ctx)
		l, _ := lease.FromContext(ctx)
		pass(t, l.Downgrade(ctx))
		pass(t, fence.CheckRead(ctx, m, "k"))
		resp, doc := x.put(fence.WithToken(ctx, "k", token))
		x.wants(resp, http.StatusPreconditionFailed, 0)
		err := m.CheckToken(ctx, "k", token)
		staleReader(t, err, "k", token, l.Token())
		for _, text := range []string{err.Error(), fmt.Sprint(doc["detail"])} {
			if !strings.Contains(text, ", or it was downgraded, so nothing") {
				t.Errorf("it says %q", text)
			}
		}
		return nil
	}))
}

// A store that does not know readers cannot check one, so nothing is served.
func TestHandler_AStoreWithoutReaders(t *testing.T) {
	var failed error
	s := storeFunc(func(context.Context, string, int64) error { return nil })
	h := fence.Checks{Failed: func(_ *http.Request, err error) { failed = err }}.Handler(s, http.HandlerFunc(
		func(http.ResponseWriter, *http.Request) { t.Error("served") }))
	if status, text := ask(t, h, "GET", "k;7;shared"); status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", status, text)
	}
	if failed == nil || !strings.Contains(failed.Error(), "CheckReadToken") {
		t.Errorf("Failed got %v", failed)
	}
}

// The client sends the mode of its lock, and learns that a reader refused it.
func TestRoundTripper_SendsTheModeOfItsLock(t *testing.T) {
	k, m, ctx := newLocker(t), new(fence.Memory), t.Context()
	x := newShelf(t, m, fence.Checks{})
	l, err := k.Lock(ctx, "k", lock.Shared())
	pass(t, err)
	h := http.Header{}
	pass(t, fence.SetHeader(l.Context(), h, "k"))
	if want := (fence.Token{Key: "k", Number: l.Token(), Shared: true}).String(); h.Get(fence.Header) != want || !strings.HasSuffix(want, ";shared") {
		t.Errorf("the header is %q, want %q", h.Get(fence.Header), want)
	}
	r, err := http.NewRequestWithContext(l.Context(), http.MethodGet, x.url, nil)
	pass(t, err)
	resp, err := x.client.Do(r)
	pass(t, err)
	pass(t, resp.Body.Close())
	x.wants(resp, http.StatusNoContent, 1)
	resp, _ = x.put(fence.WithToken(ctx, "k", l.Token()))
	x.wants(resp, http.StatusPreconditionFailed, 1)
	resp, err = x.client.Do(mustRequest(t, fence.WithToken(ctx, "k", l.Token()), x.url))
	pass(t, err)
	defer resp.Body.Close()
	staleReader(t, fence.StaleResponse(resp), "k", l.Token(), l.Token())
}

func mustRequest(t *testing.T, ctx context.Context, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, url, nil)
	pass(t, err)
	return r
}
