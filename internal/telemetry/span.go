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
	at   time.Time // start of the wait, then of the hold
	held bool      // the hold has not been reported yet
}

// Under begins the span of work under a lock. The span reveals nothing of the key, unless the program maps keys to an
// attribute. So errors are reported only by their class.
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

// Got reports that the lock was acquired, with this token.
func (s *Span) Got(token int64) {
	if s == nil {
		return
	}
	s.span.SetAttributes(tokenAttr.Int64(token))
	s.Began()
}

// Began reports that the work begins.
func (s *Span) Began() {
	if s == nil {
		return
	}
	s.span.AddEvent("redlock.wait", trace.WithAttributes(waitAttr.Float64(since(s.at))))
	s.at, s.held = time.Now(), true
}

// Failed reports that the lock was not acquired, or was lost.
func (s *Span) Failed(class string) {
	if s == nil {
		return
	}
	s.span.SetAttributes(errorType.String(class))
	s.span.SetStatus(codes.Error, class)
}

// Done reports that the work has returned.
func (s *Span) Done() {
	if s == nil || !s.held {
		return
	}
	s.held = false
	s.span.AddEvent("redlock.hold", trace.WithAttributes(holdAttr.Float64(since(s.at))))
}

// End ends the span. If the work panicked, End also records its end.
func (s *Span) End() {
	if s == nil {
		return
	}
	s.Done()
	s.span.End()
}
