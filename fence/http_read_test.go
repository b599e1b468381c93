package fence_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/fence"
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
	if status, text := ask(t, h, "PUT", "a;5, k;7;shared"); status != http.StatusForbidden {
		t.Errorf("%d %s", status, text)
	}
	pass(t, m.CheckToken(t.Context(), "a", 4))
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
