package transport

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// A fresh hub cannot dial the launcher, so the launcher, which dials it, opens
// a stream on which the hub is the one who joins.

// OfferAdmission offers a hub that there is a carrier to another admission, as
// [Options].Admit does for a new carrier: a hub that must be able to admit for
// long has to be offered one well within the last half of its signer's day.
// That it does not want one yet is no error. It takes at most 10 seconds.
func (e *Endpoint) OfferAdmission(ctx context.Context, hub wire.NodeID) error {
	id, signer := e.self()
	if id == nil || signer == nil {
		return errors.New("offer admission: no signer to admit with")
	}
	e.mu.Lock()
	var c *carrier
	if n := e.nodes[hub]; n != nil {
		c = n.carrier(false)
	}
	e.mu.Unlock()
	if c == nil {
		return fmt.Errorf("offer admission to %s: %w", hub.Short(), ErrNoRoute)
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	return c.offerAdmission(ctx, id, signer)
}

// offerAdmission lets the other end join, if it wants to.
func (c *carrier) offerAdmission(ctx context.Context, id *Identity, signer *Signer) error {
	st, err := c.mux.OpenStream()
	if err != nil {
		return fmt.Errorf("offer admission: %w", err)
	}
	defer context.AfterFunc(ctx, st.reset)()
	switch err := offerStream(st, &wire.Open{Src: id.ID, Stream: wire.StreamAdmit}); {
	case errors.Is(err, ErrRefused):
		st.reset()
		return nil // it has an identity; the link will tell
	case err != nil:
		st.reset()
		return err
	}
	return signer.ServeJoin(ctx, st)
}

// renewBefore is how long before its signer's end a hub joins again when it is
// offered to.
const renewBefore = hubValidity / 2

// serveAdmission joins the session of a signer that has come to this node.
func (c *carrier) serveAdmission(st *muxStream) error {
	e := c.e
	select {
	case e.admitting <- struct{}{}:
		defer func() { <-e.admitting }()
	case <-e.life.Done():
		st.reset()
		return nil
	}
	old, signer := e.self()
	switch {
	case e.config.Join == nil:
		refuse(st, errors.New("not waiting to be admitted"))
		return nil
	case old != nil && (signer == nil || signer.Expires().Sub(old.Now()) > renewBefore):
		refuse(st, errors.New("already admitted"))
		return nil
	}
	if err := accept(st); err != nil {
		st.reset()
		return fmt.Errorf("be admitted: %w", err)
	}
	_ = st.SetDeadline(time.Time{})
	request := *e.config.Join
	request.Renew = old
	id, newer, err := join(e.life, st, request)
	if err != nil {
		return fmt.Errorf("be admitted: %w", err)
	}
	switch {
	case signer != nil && newer != nil:
		signer.renew(newer)
	case newer != nil:
		newer.logTo(e.log, e.once)
		signer = newer
	}
	if err := e.Admit(id, signer); err != nil {
		return err
	}
	e.log.Info("admitted", "node", id.ID, "role", id.Role, "site", id.Site, "session", string(id.Session))
	if old == nil {
		e.spawn(func() { e.emit(Joined{Identity: id, Signer: signer}) })
	}
	return nil
}

// afterAdmission returns who this node is after an admission that is going on
// has ended: the signer's side of it ends first.
func (e *Endpoint) afterAdmission() (*Identity, *Signer) {
	select {
	case e.admitting <- struct{}{}:
		defer func() { <-e.admitting }()
	case <-e.life.Done():
	}
	return e.self()
}

// serveJoin admits whoever is at the other end of a stream, or passes the join
// on to somebody who can.
func (c *carrier) serveJoin(st *muxStream, o *wire.Open, signer *Signer) error {
	id, _ := c.e.self()
	if id == nil {
		refuse(st, ErrNotAdmitted)
		return nil
	}
	_ = st.SetDeadline(time.Time{})
	if signer != nil {
		if err := accept(st); err != nil {
			st.reset()
			return fmt.Errorf("serve a join: %w", err)
		}
		_ = signer.ServeJoin(c.e.life, st) // which has logged
		return nil
	}
	return c.e.pipeJoin(c.e.life, st, c.known().ID, o.Hops, func(err error) {
		if err != nil {
			refuse(st, err)
			return
		}
		_ = accept(st)
	})
}
