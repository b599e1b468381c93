// Command shop is a small service on a set of nodes: a cached user that is deleted from the cache when it changes, and an
// order that one instance of the service processes, under a lock whose token the order store checks.
//
//	GET  /user/7             from the cache, or loaded once by all instances together
//	PUT  /user/7  Ada        changes the database, then deletes the user from the cache
//	POST /order/42           processes the order, if nobody did
//
//	go run ./examples/shop
//
// It starts two instances on in-process nodes, and shows what they answer. REDLOCK_NODES names other nodes, separated by commas.
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/venta-hq/redlock/embedded"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	urls := strings.Split(os.Getenv("REDLOCK_NODES"), ",")
	if urls[0] == "" {
		nodes, err := embedded.Start(3)
		if err != nil {
			return err
		}
		defer nodes.Close()
		urls = nodes.URLs()
	}
	db := newDatabase(map[string]string{"7": "Ada"})
	one, err := newShop(ctx, urls, db)
	if err != nil {
		return err
	}
	defer one.close(ctx)
	two, err := newShop(ctx, urls, db)
	if err != nil {
		return err
	}
	for _, call := range []struct {
		at           *shop
		method, path string
		body         string
	}{
		{one, "GET", "/user/7", ""},
		{two, "GET", "/user/7", ""},
		{two, "PUT", "/user/7", "Ada Lovelace"},
		{one, "GET", "/user/7", ""},
		{one, "POST", "/order/42", ""},
		{two, "POST", "/order/42", ""},
	} {
		status, body := ask(call.at, call.method, call.path, call.body)
		fmt.Printf("%s %s %s: %d %s\n", call.method, call.path, call.body, status, body)
	}
	two.close(ctx)
	status, body := ask(one, "GET", "/user/7", "")
	fmt.Printf("one instance has gone; GET /user/7: %d %s\n", status, body)
	fmt.Printf("users loaded from the database: %d\n", db.reads())
	return nil
}

// ask calls an instance as a client over HTTP would.
func ask(s *shop, method, path, body string) (status int, answer string) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Code, strings.TrimSpace(w.Body.String())
}

var _ http.Handler = (*shop)(nil)

// patience bounds what a request may wait for the nodes.
const patience = 10 * time.Second
