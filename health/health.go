// Package health tells a load balancer or Kubernetes whether a program can lock
// anything.
//
//	http.Handle("/readyz", health.Handler(c, 15*time.Second))
//
// It is for readiness: a program that cannot lock should get no work that needs a
// lock. Do not make it a liveness check: restarting a program does not bring
// nodes back, and costs it the locks that it still holds.
package health

import (
	"fmt"
	"net/http"
	"time"

	"github.com/venta-hq/redlock/cluster"
)

// Handler answers 200 while something can be locked on c, and 503 once nothing
// could be for longer than grace; [cluster.Cluster.Health] says what that
// means. It asks the nodes nothing, so it may be called often.
//
// The grace keeps a program ready over what passes by itself: a node that
// restarts while another is down, a switch of the network. 15 s is longer than
// the default TTL of a lock, after which those that were held are lost. Without
// a grace, or with a negative one, it answers 503 as soon as there is no quorum.
// After Close it answers 503 at once.
//
// The body says why in a line, with the names of nodes and without credentials.
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
