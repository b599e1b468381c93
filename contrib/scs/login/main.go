// Command login is a small server with sessions on a set of Redis nodes: what a browser needs so that its session cannot
// be guessed, stolen by a script, sent along by another site, or fixed before log-in, and ends for good at log-out.
//
//	REDLOCK_NODES=redis://10.0.0.1:6379,… go run ./login cert.pem key.pem
//	go run ./login cert.pem key.pem         # five nodes in this process
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/venta-hq/redlock/cluster"
	redlock "github.com/venta-hq/redlock/contrib/scs"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/session"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: login cert.pem key.pem")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, cert, key string) error {
	urls := strings.Split(os.Getenv("REDLOCK_NODES"), ",")
	if urls[0] == "" {
		nodes, err := embedded.Start(5)
		if err != nil {
			return err
		}
		defer nodes.Close()
		urls = nodes.URLs()
	}
	c, err := cluster.Open(ctx, cluster.Config{URLs: urls})
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	sessions, err := newSessions(c)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: "127.0.0.1:8443", Handler: handler(sessions), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { server.Shutdown(context.WithoutCancel(ctx)) })
	log.Print("listening at https://", server.Addr)
	if err := server.ListenAndServeTLS(cert, key); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// newSessions makes the manager of scs, whose sessions live on the nodes of c.
func newSessions(c *cluster.Cluster) (*scs.SessionManager, error) {
	m := scs.New()
	m.Lifetime, m.IdleTimeout = 12*time.Hour, 30*time.Minute
	store, err := session.New(c, session.Config{Lifetime: m.Lifetime})
	if err != nil {
		return nil, err
	}
	m.Store = redlock.New(store)
	m.Cookie.Name = "__Host-session" // which a browser takes only with Secure, Path=/ and no Domain: no other host can set it
	m.Cookie.Secure, m.Cookie.HttpOnly, m.Cookie.SameSite, m.Cookie.Path = true, true, http.SameSiteLaxMode, "/"
	m.ErrorFunc = refuse
	return m, nil
}

// refuse answers what the nodes refuse. A session that has ended must not be served, and a node that does not answer is no
// reason to log anybody out.
func refuse(w http.ResponseWriter, _ *http.Request, err error) {
	switch {
	case errors.Is(err, session.ErrSessionGone):
		http.Error(w, "logged out", http.StatusUnauthorized)
	case errors.Is(err, session.ErrNoQuorum):
		w.Header().Set("Retry-After", "1")
		http.Error(w, "try again", http.StatusServiceUnavailable)
	default:
		log.Print(err)
		http.Error(w, "internal error", http.StatusInternalServerError)
	}
}

// The one user there is. A real server compares with a hash of the password.
const name, password = "ann", "correct horse"

func handler(m *scs.SessionManager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		user := m.GetString(r.Context(), "user")
		if user == "" {
			user = "nobody"
		}
		m.Put(r.Context(), "visits", m.GetInt(r.Context(), "visits")+1)
		fmt.Fprintf(w, "%s, visit %d\n", user, m.GetInt(r.Context(), "visits"))
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("name") != name || r.FormValue("password") != password {
			http.Error(w, "wrong name or password", http.StatusForbidden)
			return
		}
		// A new id: who made the browser use the old one must not be logged in with it.
		if err := m.RenewToken(r.Context()); err != nil {
			refuse(w, r, err)
			return
		}
		m.Put(r.Context(), "user", name)
		fmt.Fprintln(w, "welcome", name)
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		if err := m.Destroy(r.Context()); err != nil {
			refuse(w, r, err)
			return
		}
		fmt.Fprintln(w, "goodbye")
	})
	// Requests that other sites have a browser send are refused, whatever cookies come with them.
	return http.NewCrossOriginProtection().Handler(m.LoadAndSave(mux))
}
