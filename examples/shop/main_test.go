package main

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/venta-hq/redlock/internal/nodetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTwoInstancesAgreeAndOneGoesOnAlone(t *testing.T) {
	nodetest.Each(t, 3, func(t *testing.T, s nodetest.Set) {
		db := newDatabase(map[string]string{"7": "Ada"})
		var shops [2]*shop
		for i := range shops {
			var err error
			if shops[i], err = newShop(t.Context(), s.URLs(), db); err != nil {
				t.Fatal(err)
			}
		}
		defer shops[0].close(t.Context())
		want := func(at *shop, method, path, body string, status int, answer string) {
			t.Helper()
			if got, text := ask(at, method, path, body); got != status || !strings.Contains(text, answer) {
				t.Errorf("%s %s: %d %q, want %d %q", method, path, got, text, status, answer)
			}
		}
		want(shops[0], "GET", "/user/7", "", http.StatusOK, "Ada")
		want(shops[1], "GET", "/user/7", "", http.StatusOK, "Ada")
		want(shops[1], "PUT", "/user/7", "Ada Lovelace", http.StatusOK, "changed")
		want(shops[0], "GET", "/user/7", "", http.StatusOK, "Ada Lovelace")
		want(shops[0], "GET", "/user/8", "", http.StatusNotFound, "no such user")
		if n := db.reads(); n != 3 {
			t.Errorf("%d users were loaded, want 3", n)
		}

		var wg sync.WaitGroup
		var mu sync.Mutex
		answers := map[int]int{}
		for i := range 10 {
			wg.Go(func() {
				status, _ := ask(shops[i%2], "POST", "/order/42", "")
				mu.Lock()
				defer mu.Unlock()
				answers[status]++
			})
		}
		wg.Wait()
		if answers[http.StatusOK] != 1 || answers[http.StatusConflict] != 9 {
			t.Errorf("ten asked for the order: %v", answers)
		}
		shops[1].close(t.Context())
		want(shops[0], "GET", "/user/7", "", http.StatusOK, "Ada Lovelace")
		want(shops[0], "POST", "/order/43", "", http.StatusOK, "processed")
	})
}
