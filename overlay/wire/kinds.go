package wire

import (
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// String returns the name of the kind, such as "claim".
func (k Kind) String() string {
	m := newMessage(k)
	if m == nil {
		return fmt.Sprintf("kind%d", uint8(k))
	}
	return strings.ToLower(reflect.TypeOf(m).Elem().Name())
}

// newMessage returns an empty message of a kind, or nil for unknown ones.
func newMessage(k Kind) Message {
	switch k {
	case KindHello:
		return new(Hello)
	case KindWelcome:
		return new(Welcome)
	case KindPeersChanged:
		return new(PeersChanged)
	case KindPing:
		return new(Ping)
	case KindPong:
		return new(Pong)
	case KindLeave:
		return new(Leave)
	case KindTokens:
		return new(Tokens)
	case KindRetire:
		return new(Retire)
	case KindAdvert:
		return new(Advert)
	case KindClaim:
		return new(Claim)
	case KindHold:
		return new(Hold)
	case KindGrant:
		return new(Grant)
	case KindRefuse:
		return new(Refuse)
	case KindRelease:
		return new(Release)
	case KindReport:
		return new(Report)
	case KindAck:
		return new(Ack)
	case KindStop:
		return new(Stop)
	case KindClosed:
		return new(Closed)
	case KindRenew:
		return new(Renew)
	case KindOpen:
		return new(Open)
	case KindAccepted:
		return new(Accepted)
	case KindLane:
		return new(Lane)
	case KindStripe:
		return new(Stripe)
	case KindReach:
		return new(Reach)
	case KindPunch:
		return new(Punch)
	case KindObserved:
		return new(Observed)
	case KindListen:
		return new(Listen)
	case KindListening:
		return new(Listening)
	case KindDial:
		return new(Dial)
	case KindGrowOrder:
		return new(GrowOrder)
	case KindGrown:
		return new(Grown)
	case KindJoin:
		return new(Join)
	case KindAdmitted:
		return new(Admitted)
	case KindWant:
		return new(Want)
	case KindChunk:
		return new(BlobHeader)
	case KindMissing:
		return new(Missing)
	case KindOutput:
		return new(Output)
	case KindResume:
		return new(Resume)
	case KindReceived:
		return new(Received)
	case KindExchange:
		return new(Exchange)
	case KindExchangeReply:
		return new(ExchangeReply)
	case KindDatagram:
		return new(Datagram)
	case KindProbe:
		return new(Probe)
	case KindProbeReply:
		return new(ProbeReply)
	case KindPlaced:
		return new(Placed)
	case KindFree:
		return new(Free)
	case KindTables:
		return new(Tables)
	case KindFind:
		return new(Find)
	case KindFound:
		return new(Found)
	case KindLinkStates:
		return new(LinkStates)
	case KindLinksHeld:
		return new(LinksHeld)
	case KindAdvice:
		return new(Advice)
	case KindServe:
		return new(Serve)
	case KindBeat:
		return new(Beat)
	case KindInquiry:
		return new(Inquiry)
	case KindFinding:
		return new(Finding)
	case KindNotices:
		return new(Notices)
	}
	return nil
}

// checkText bounds a text field.
func checkText(field, s string, max int) error {
	if len(s) > max {
		return invalidf("%s of %d bytes", field, len(s))
	}
	if !utf8.ValidString(s) {
		return invalidf("%s is not UTF-8", field)
	}
	return nil
}
