package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/signal"
	"os/user"
	"strings"
	"syscall"
	"time"

	"github.com/venta-hq/redlock/web"
)

type webCmd struct {
	nodesFlag
	Prefix       string        `default:"lock:" help:"The prefix of all keys on the nodes. Default \"${default}\"."`
	Listen       string        `default:"127.0.0.1:8089" placeholder:"HOST:PORT" help:"Where to serve the pages; port 0 takes a free one. Default ${default}."`
	Every        time.Duration `default:"2s" placeholder:"D" help:"How often to ask the nodes while a page is open, at least 500ms. Default ${default}."`
	AllowRelease bool          `name:"allow-release" help:"Let people take locks away from their holders: on a loopback address, or with --basic-auth-file."`
	BasicAuth    string        `name:"basic-auth-file" placeholder:"FILE" help:"Ask for a name and a password of FILE, which htpasswd -B writes."`
}

func (webCmd) Help() string {
	return `Serves pages for a browser: all locks, one lock node by node, the nodes with what doctor finds, elections, and jobs that are ` +
		`done. An open page updates itself. However many pages are open, the nodes are asked once. ` + operatorRights + `

The pages are read-only. With --allow-release a lock can be taken away from its holder, as by redlock release --force: ` +
		`the key has to be typed, and a reason given, which is printed. That needs an address that only this machine can reach, or ` +
		`--basic-auth-file. On a loopback address any user of this machine can reach the pages.

The pages are served by HTTP. Put a proxy with HTTPS before them where others can read the network.

  redlock web
  redlock web --allow-release
  htpasswd -cB users ann && redlock web --listen 10.0.0.7:8089 --basic-auth-file users --allow-release

Exit codes: 0 ended by a signal, 1 the address cannot be listened on, 2 bad flags, nodes or files.`
}

func (r *webCmd) Run() error {
	cfg, err := r.config()
	if err != nil {
		return err
	}
	serve, err := r.guard()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", r.Listen)
	if err != nil {
		return failed(exitFailure, fmt.Errorf("--listen %s: %w", r.Listen, err))
	}
	defer listener.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cfg.Logger = newLogger(true, false)
	h, err := web.Open(ctx, web.Config{Cluster: cfg, Prefix: r.Prefix, Every: r.Every, Authorize: r.authorize(),
		Logger: newLogger(false, false)})
	if err != nil {
		return err
	}
	rights := "read-only"
	if r.AllowRelease {
		rights = "locks can be released"
	}
	fmt.Fprintf(stdout, "http://%s/ (%s); Ctrl-C ends it.\n", listener.Addr(), rights)
	return r.serve(ctx, listener, h, serve(h))
}

// serve serves requests until ctx ends.
func (r *webCmd) serve(ctx context.Context, listener net.Listener, h *web.Handler, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 256 << 10}
	failure := make(chan error, 1)
	go func() { failure <- server.Serve(listener) }()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failure:
	}
	end, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	_ = h.Close(end) // ends the streams, for which Shutdown would wait
	_ = server.Shutdown(end)
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return failed(exitFailure, err)
	}
	return nil
}

// guard returns the middleware of the pages. It asks for a password, or
// prevents other sites from reaching pages on a loopback address through their
// own host names.
func (r *webCmd) guard() (func(http.Handler) http.Handler, error) {
	host, _, err := net.SplitHostPort(r.Listen)
	if err != nil {
		return nil, misused("--listen %s: %w; give a host and a port, such as 127.0.0.1:8089", r.Listen, err)
	}
	local := isLoopback(host)
	switch {
	case r.BasicAuth != "":
		users, err := readUsers(r.BasicAuth)
		if err != nil {
			return nil, err
		}
		return users.ask, nil
	case r.AllowRelease && !local:
		return nil, misused("--allow-release: others can reach %s; listen on a loopback address, or ask for a password with --basic-auth-file", r.Listen)
	case local:
		return onlyLoopbackNames, nil
	}
	return func(h http.Handler) http.Handler { return h }, nil
}

// authorize returns a function that names the user who releases locks: the name
// that logged in, or the user who runs this command.
func (r *webCmd) authorize() func(*http.Request) (string, bool) {
	if !r.AllowRelease {
		return nil
	}
	if r.BasicAuth != "" {
		return func(req *http.Request) (string, bool) {
			name, _, ok := req.BasicAuth() // checked by guard
			return name, ok
		}
	}
	name := "redlock web"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return func(*http.Request) (string, bool) { return name, true }
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// onlyLoopbackNames refuses requests to names other than those of this machine.
// Otherwise a site could make its name resolve to 127.0.0.1, and its scripts
// would be of the same origin.
func onlyLoopbackNames(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = strings.Trim(r.Host, "[]")
		}
		if !isLoopback(host) {
			http.Error(w, "Only localhost and loopback addresses lead to these pages.", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}
