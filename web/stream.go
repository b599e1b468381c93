package web

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"
)

const (
	// maxStreams is how many pages can be live at once. More are asked to try
	// again later, and still show what they showed when they were opened.
	maxStreams = 256
	// beat is how often a stream without news sends a comment, which keeps
	// proxies from closing it.
	beat = 15 * time.Second
	// writeTimeout ends a stream whose client does not read.
	writeTimeout = 10 * time.Second
	// calm is how long a page rests at most between two events.
	calm = time.Second
)

// stream sends the live parts of a page as server-sent events, whenever the
// nodes have said something new.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, p *page) {
	if !h.survey.demand.join(maxStreams) {
		w.Header().Set("Retry-After", "30")
		h.fail(w, r, &fault{http.StatusServiceUnavailable, "Too many pages are open; reload this one to update it."})
		return
	}
	defer h.survey.demand.leave()
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold the events back
	for {
		now, changed := h.survey.latest()
		body, err := h.shared.of(now.number, p.Path+"?"+r.URL.RawQuery, func() ([]byte, error) { return h.liveParts(r, p) })
		if err == nil {
			err = send(w, out, body)
		}
		if err != nil || !h.rest(r.Context(), w, out, changed) {
			return
		}
	}
}

// shared keeps the events of one picture: pages with the same address are
// rendered once. What depends on the visitor is not part of an event.
type shared struct {
	mu     sync.Mutex
	number int // of the picture
	events map[string]func() ([]byte, error)
}

// of is the event of an address. The first caller renders it.
func (s *shared) of(number int, address string, render func() ([]byte, error)) ([]byte, error) {
	s.mu.Lock()
	if number > s.number || s.events == nil {
		s.number, s.events = number, map[string]func() ([]byte, error){}
	}
	event, ok := s.events[address]
	if !ok {
		event = sync.OnceValues(render)
		s.events[address] = event
	}
	s.mu.Unlock()
	return event()
}

// liveParts renders what is replaced on the page, as one event. Others get it
// as well, so it neither depends on the visitor nor ends with the visit.
func (h *Handler) liveParts(r *http.Request, p *page) ([]byte, error) {
	v, end := h.visit(context.WithoutCancel(r.Context()), r)
	defer end()
	d, err := p.build(h, v)
	if err != nil {
		return nil, err
	}
	d.shell().page = p
	var html bytes.Buffer
	if err := p.templates.ExecuteTemplate(&html, "live", d); err != nil {
		return nil, err
	}
	var event bytes.Buffer
	for line := range bytes.Lines(html.Bytes()) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			event.WriteString("data: ")
			event.Write(line)
			event.WriteByte('\n')
		}
	}
	event.WriteByte('\n')
	return event.Bytes(), nil
}

// send writes one event, or fails if the client does not take it.
func send(w http.ResponseWriter, out *http.ResponseController, event []byte) error {
	_ = out.SetWriteDeadline(time.Now().Add(writeTimeout)) // where it is not supported, the server's own holds
	if _, err := w.Write(event); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_ = out.SetWriteDeadline(time.Time{}) // over HTTP/2 a deadline ends a stream on which nothing is written
	return nil
}

// rest waits for news, but lets a page rest between two events, for half a round
// at most. It returns false when the stream is over.
func (h *Handler) rest(ctx context.Context, w http.ResponseWriter, out *http.ResponseController, changed <-chan struct{}) bool {
	rested := time.NewTimer(min(h.cfg.Every/2, calm))
	defer rested.Stop()
	idle := time.NewTicker(beat)
	defer idle.Stop()
	news := (<-chan struct{})(nil)
	for {
		select {
		case <-rested.C:
			news = changed
		case <-news:
			return true
		case <-idle.C:
			if send(w, out, []byte(":\n\n")) != nil {
				return false
			}
		case <-ctx.Done():
			return false
		case <-h.ctx.Done():
			return false
		}
	}
}
