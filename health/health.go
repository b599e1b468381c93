// Package health serves a readiness check that tells a load balancer or
// Kubernetes whether a program can lock anything.
//
//	http.Handle("/readyz", health.Handler(c, 15*time.Second))
//
// A program that cannot lock should receive no work that needs a lock. Do not
// use the handler as a liveness check: restarting a program does not repair the
// nodes, and costs it the locks that it still holds.
package health

import (
	"fmt"
	"net/http"
	"time"

	"github.com/venta-hq/redlock/cluster"
)

// Handler returns a handler that answers 200 while something can be locked on
// c, and 503 after nothing could be locked for longer than grace;
// [cluster.Cluster.Health] says what that means. It sends nothing to the nodes,
// so it may be called often.
//
// The grace keeps a program ready during short outages: a node that restarts
// while another is down, a network that fails over. 15 s is longer than the
// default TTL of a lock, after which locks that were held are lost. If grace is
// zero or negative, the handler answers 503 as soon as there is no quorum.
// After the Cluster was closed it answers 503 at once.
//
// The body is one line that says why. It names nodes, and contains no
// credentials.
func Handler(c *cluster.Cluster, grace time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		h := c.Health()
		switch lasted := time.Since(h.Since); {
		case h.Err == nil:
			fmt.Fprintln(w, "ready")
		case lasted <= grace:
			fmt.Fprintf(w, "ready; nothing can be locked for %v: %v\n", lasted.Round(time.Millisecond), h.Err)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, h.Err)
		}
	})
}
