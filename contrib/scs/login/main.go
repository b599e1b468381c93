// Command login is a small server with sessions on a set of Redis nodes. A
// session cannot be guessed, stolen by a script, sent by another site, or fixed
// before log-in, and it ends at log-out, here or everywhere. Strangers cannot
// make the server store anything: a session begins at log-in, requests are
// small and short, and nothing is written to a file. On SIGINT and SIGTERM it
// answers pending requests and exits. A real server also needs users, password
// hashes, and a limit on attempts to log in.
//
//	REDLOCK_NODES=redis://10.0.0.1:6379,… go run ./login cert.pem key.pem
//	go run ./login cert.pem key.pem         # five nodes in this process
//
// It listens on 127.0.0.1:8443, or on $LISTEN.
package main

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log"
	"mime"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
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
	store, err := session.New(c, session.Config{Lifetime: lifetime})
	if err != nil {
		return err
	}
	defer store.Close()
	listener, err := net.Listen("tcp", cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:8443"))
	if err != nil {
		return err
	}
	log.Print("listening at https://", listener.Addr())
	server := newServer(handler(newSessions(store)))
	return serve(ctx, server, func() error { return server.ServeTLS(listener, cert, key) })
}

// newServer bounds what one connection can keep: a client that sends a byte now and then, or reads none, is left.
func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      20 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// leave is how long requests have to end when the server does: as long as they may take.
const leave = 20 * time.Second

// serve runs listen until ctx ends, and returns when the requests that were begun are answered.
func serve(ctx context.Context, server *http.Server, listen func() error) error {
	failed := make(chan error, 1)
	go func() { failed <- listen() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), leave)
	defer cancel()
	err := server.Shutdown(last)
	if err != nil {
		err = errors.Join(err, server.Close())
	}
	if end := <-failed; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}

// lifetime is how long somebody stays logged in at most.
const lifetime = 12 * time.Hour

// newSessions makes the manager of scs, whose sessions live in store.
func newSessions(store *session.Store) *scs.SessionManager {
	m := scs.New()
	m.Lifetime, m.IdleTimeout = lifetime, 30*time.Minute
	m.Store = redlock.New(store)
	m.Cookie.Name = "__Host-session" // which a browser takes only with Secure, Path=/ and no Domain: no other host can set it
	m.Cookie.Secure, m.Cookie.HttpOnly, m.Cookie.SameSite, m.Cookie.Path = true, true, http.SameSiteLaxMode, "/"
	m.ErrorFunc = refuse
	return m
}

// refuse answers requests whose session cannot be read or written. A session
// that has ended must not be served, and a node that does not answer is no
// reason to log a user out.
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

// same takes as long wherever the two differ.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// maxForm is the largest body that is read, in bytes.
const maxForm = 4 << 10

// form reads the fields of a form from the body: in the query they would stand in logs, and a form in parts may be written to
// files. It reports whether it has answered for want of one.
func form(w http.ResponseWriter, r *http.Request) (refused bool) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		http.Error(w, "send a form, URL-encoded", http.StatusUnsupportedMediaType)
		return true
	}
	err = r.ParseForm()
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	case err != nil:
		http.Error(w, "not a form", http.StatusBadRequest)
	}
	return err != nil
}

func handler(m *scs.SessionManager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		user := m.GetString(r.Context(), "user")
		if user == "" { // nothing is written for a stranger
			fmt.Fprintln(w, "nobody")
			return
		}
		m.Put(r.Context(), "visits", m.GetInt(r.Context(), "visits")+1)
		fmt.Fprintf(w, "%s, visit %d\n", user, m.GetInt(r.Context(), "visits"))
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if form(w, r) {
			return
		}
		if right := same(r.PostForm.Get("name"), name); !same(r.PostForm.Get("password"), password) || !right {
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
	mux.HandleFunc("POST /logout/everywhere", func(w http.ResponseWriter, r *http.Request) {
		user := m.GetString(r.Context(), "user")
		if user == "" {
			http.Error(w, "logged out", http.StatusUnauthorized)
			return
		}
		// scs knows no users, so this looks at all sessions; with package session it is one step, Store.LogoutAll.
		err := m.Iterate(context.WithoutCancel(r.Context()), func(ctx context.Context) error {
			if m.GetString(ctx, "user") != user {
				return nil
			}
			return m.Destroy(ctx)
		})
		if err == nil {
			err = m.Destroy(r.Context()) // so that the cookie goes too
		}
		if err != nil {
			refuse(w, r, err)
			return
		}
		fmt.Fprintln(w, "goodbye, everywhere")
	})
	// Requests that other sites have a browser send are refused, whatever cookies come with them. Nothing reads more of a
	// body than this, whoever sends it.
	return http.MaxBytesHandler(http.NewCrossOriginProtection().Handler(m.LoadAndSave(mux)), maxForm)
}
