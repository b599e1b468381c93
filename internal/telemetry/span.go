package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Span is the span of work under a lock.
type Span struct {
	span trace.Span
	at   time.Time // the begin of the wait, then of the hold
	held bool      // the hold has not been reported yet
}

// Under begins the span of work under a lock. Nothing that the key could be read from is said, unless the program wants
// the key to be an attribute; so errors are said by their class.
func (t *Telemetry) Under(ctx context.Context, key string) (context.Context, *Span) {
	if t == nil || t.tracer == nil {
		return ctx, nil
	}
	ctx, span := t.tracer.Start(ctx, "redlock.WithLock")
	if kv, ok := t.label(key); ok {
		span.SetAttributes(kv)
	}
	return ctx, &Span{span: span, at: time.Now()}
}

// UnderAll begins the span of work under the locks of this number of keys.
func (t *Telemetry) UnderAll(ctx context.Context, keys int) (context.Context, *Span) {
	if t == nil || t.tracer == nil {
		return ctx, nil
	}
	ctx, span := t.tracer.Start(ctx, "redlock.WithLocks", trace.WithAttributes(keysAttr.Int(keys)))
	return ctx, &Span{span: span, at: time.Now()}
}

// Got says that the lock was given, with this token.
func (s *Span) Got(token int64) {
	if s == nil {
		return
	}
	s.span.SetAttributes(tokenAttr.Int64(token))
	s.Began()
}

// Began says that the work begins.
func (s *Span) Began() {
	if s == nil {
		return
	}
	s.span.AddEvent("redlock.wait", trace.WithAttributes(waitAttr.Float64(since(s.at))))
	s.at, s.held = time.Now(), true
}

// Failed says that the lock was not given, or lost.
func (s *Span) Failed(class string) {
	if s == nil {
		return
	}
	s.span.SetAttributes(errorType.String(class))
	s.span.SetStatus(codes.Error, class)
}

// Done says that the work has returned.
func (s *Span) Done() {
	if s == nil || !s.held {
		return
	}
	s.held = false
	s.span.AddEvent("redlock.hold", trace.WithAttributes(holdAttr.Float64(since(s.at))))
}

// End ends the span. Work that was left by a panic is done then.
func (s *Span) End() {
	if s == nil {
		return
	}
	s.Done()
	s.span.End()
}
