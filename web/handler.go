package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/present"
)

//go:embed templates/*.html static/*
var files embed.FS

// Handler serves the pages. It can be mounted under any prefix that ends in a
// slash. All methods may be called concurrently.
type Handler struct {
	cfg         Config
	src         source
	nodeTimeout time.Duration
	survey      *survey
	details     *details
	shared      shared
	sameOrigin  *http.CrossOriginProtection

	ctx         context.Context // ends with Close
	end         context.CancelFunc
	work        sync.WaitGroup
	closeSource func(context.Context) error

	closing  sync.Once
	closed   chan struct{} // closed when the rest is filled in
	closeErr error
}

// newHandler makes the handler of a source.
func newHandler(cfg Config, src source, nodeTimeout time.Duration) *Handler {
	h := &Handler{cfg: cfg, src: src, nodeTimeout: nodeTimeout, survey: newSurvey(src, cfg.Every),
		sameOrigin: http.NewCrossOriginProtection(), closed: make(chan struct{}), closeSource: func(context.Context) error { return nil }}
	h.ctx, h.end = context.WithCancel(context.Background())
	h.details = &details{src: src, every: cfg.Every, ctx: h.ctx, wg: &h.work, looks: map[string]*look{}}
	h.survey.start(h.ctx, &h.work)
	return h
}

// Close ends the streams of open pages and closes the connections to the nodes.
// It may be called again; every call waits, and returns the result of the
// first. If ctx ends first, Close returns an error with ctx.Err() in its chain,
// and closing continues in the background.
func (h *Handler) Close(ctx context.Context) error {
	if h == nil {
		return nil
	}
	h.closing.Do(func() {
		h.details.stop(h.end)
		go func() {
			defer close(h.closed)
			h.work.Wait()
			h.closeErr = h.closeSource(context.WithoutCancel(ctx))
		}()
	})
	select {
	case <-h.closed:
		return h.closeErr
	case <-ctx.Done():
		return errs.Errorf("redlock: close: %w", errs.Ended(ctx))
	}
}

// page is one of the pages that show something.
type page struct {
	Path  string
	build func(h *Handler, v visit) (document, error)

	templates *template.Template
}

// document is what a page shows: the data of its template, and its JSON.
type document interface{ shell() *frame }

var pages = []*page{
	{Path: "", build: (*Handler).locksPage, templates: parse("locks")},
	{Path: "nodes", build: (*Handler).nodesPage, templates: parse("nodes")},
	{Path: "jobs", build: (*Handler).jobsPage, templates: parse("jobs")},
	{Path: "lock", build: (*Handler).lockPage, templates: parse("lock")},
}

// menuItem is a link of the navigation.
type menuItem struct{ Path, Title string }

var menu = []menuItem{{"", "Locks"}, {"nodes", "Nodes"}, {"jobs", "Elections and jobs"}}

func parse(name string) *template.Template {
	return template.Must(template.New(name).Funcs(template.FuncMap{
		"menu": func() []menuItem { return menu }, "shown": present.Line, "short": short, "thousands": present.Thousands,
	}).ParseFS(files, "templates/layout.html", "templates/"+name+".html"))
}

// ServeHTTP answers a request, whose path is relative to the prefix.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	path := strings.TrimPrefix(r.URL.Path, "/")
	if i := slices.IndexFunc(pages, func(p *page) bool { return p.Path == path }); i >= 0 {
		h.show(w, r, pages[i])
		return
	}
	if a, ok := assets[path]; ok {
		a.serve(w, r)
		return
	}
	switch {
	case path != "release":
		h.fail(w, r, &fault{http.StatusNotFound, "There is no such page."})
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST")
		h.fail(w, r, &fault{http.StatusMethodNotAllowed, "A lock is released by POST only."})
	default:
		h.release(w, r)
	}
}

// policy lets a page load its own files and nothing else, and no page frame it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// secure sets the headers that every answer has.
func secure(header http.Header) {
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Frame-Options", "DENY")
	// Under no-referrer a browser would not send the origin of a form, which
	// release checks. Other sites learn nothing from this one either.
	header.Set("Referrer-Policy", "same-origin")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
	header.Set("Vary", "Accept")
}

// show answers with a page, in the format that the client asks for.
func (h *Handler) show(w http.ResponseWriter, r *http.Request, p *page) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		h.fail(w, r, &fault{http.StatusMethodNotAllowed, "This page can only be read."})
		return
	}
	v, end := h.visit(r.Context(), r)
	defer end()
	v.authorize = func() (string, bool) { return h.authorize(r) }
	if v.bad != nil {
		h.fail(w, r, bad("the query cannot be read: %v", v.bad))
		return
	}
	d, err := p.build(h, v)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	switch format := wants(r); {
	case format == jsonFormat:
		writeJSON(w, http.StatusOK, d)
	case format == streamFormat && r.Method == http.MethodGet:
		h.stream(w, r, p)
	default:
		d.shell().page = p
		render(w, http.StatusOK, p.templates, d)
	}
}

// visit is one request for a page.
type visit struct {
	ctx       context.Context // ends when the page has to be shown with what there is
	query     url.Values
	bad       error                        // of the query
	authorize func() (who string, ok bool) // whether the visitor may release locks
}

// visit begins the answer to a request, which is complete within two
// NodeTimeouts, unless ctx ends before. The visitor may not release locks.
func (h *Handler) visit(ctx context.Context, r *http.Request) (v visit, end func()) {
	v.query, v.bad = url.ParseQuery(r.URL.RawQuery)
	v.authorize = func() (string, bool) { return "", false }
	v.ctx, end = context.WithTimeout(ctx, h.nodeTimeout*3/2)
	return v, end
}

// The formats of an answer.
const (
	htmlFormat   = "html"
	jsonFormat   = "json"
	streamFormat = "stream"
)

// wants is the format that a client asks for, by Accept or by format=json.
func wants(r *http.Request) string {
	accept := r.Header.Get("Accept")
	switch {
	case strings.HasPrefix(accept, "application/json"), strings.Contains("&"+r.URL.RawQuery+"&", "&format=json&"):
		return jsonFormat
	case strings.HasPrefix(accept, "text/event-stream"):
		return streamFormat
	}
	return htmlFormat
}

// render writes a whole page, or, if its template fails, an error.
func render(w http.ResponseWriter, status int, t *template.Template, data any) {
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "layout", data); err != nil {
		http.Error(w, "The page cannot be shown: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client may be gone
}

// fault is an error that a person or a tool is shown.
type fault struct {
	status int
	text   string
}

func (f *fault) Error() string { return f.text }

// bad is the fault of a request that cannot be understood.
func bad(format string, args ...any) *fault {
	return &fault{http.StatusBadRequest, "Bad request: " + present.Line(fmt.Sprintf(format, args...)) + "."}
}

var errorPage = parse("error")

// errorDoc is the data of the page about a fault.
type errorDoc struct {
	Status int    `json:"status"`
	Error  string `json:"error"`
}

func (errorDoc) Page() *page { return nil }

// Name is the status in words.
func (d errorDoc) Name() string { return http.StatusText(d.Status) }

// fail answers with an error, as HTML or JSON.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	var f *fault
	if !errors.As(err, &f) {
		f = &fault{http.StatusInternalServerError, sentence(err)}
	}
	d := errorDoc{f.status, f.text}
	if wants(r) == jsonFormat {
		writeJSON(w, f.status, d)
		return
	}
	render(w, f.status, errorPage, d)
}

// asset is a file that pages load.
type asset struct {
	name string
	body []byte
	kind string
	tag  string
}

var assets = map[string]asset{
	"style.css": newAsset("style.css", "text/css; charset=utf-8"),
	"script.js": newAsset("script.js", "text/javascript; charset=utf-8"),
	"icon.svg":  newAsset("icon.svg", "image/svg+xml"),
}

func newAsset(name, kind string) asset {
	body, err := files.ReadFile("static/" + name)
	if err != nil {
		panic(err) // the file is part of the program
	}
	sum := sha256.Sum256(body)
	return asset{name, body, kind, `"` + hex.EncodeToString(sum[:8]) + `"`}
}

func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "This file can only be read.", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "no-cache") // it is asked for each time, and mostly not sent again
	w.Header().Set("ETag", a.tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
}
