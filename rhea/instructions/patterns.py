"""What patterns see in one sentence: named signals, the first of the evidence that is weighed.

English and German in full; the commonest markers of French, Spanish, Italian, Portuguese and Dutch. Each signal
says one thing ("names the whole conversation", "speaks of this one reply"), and `detect` weighs them; no signal
decides alone.
"""

from __future__ import annotations

import re

__all__ = ["NEUTRAL", "SIGNALS", "signals"]

NEUTRAL = frozenset({"question", "why_question", "reported", "narrative", "third_party", "about_reply", "whenever"})
"""A sentence that shows none but these is bare: the learned part alone would have to speak for it."""

_CONV = (
    r"(?:conversations?|chats?|discussions?|dialogues?|dialogs?|sessions?|exchanges?|interactions?|threads?|(?:our|these|all) talks?|"
    r"correspondences?|chatting|messaging|back[- ]and[- ]forth|time together)"
)
_REPLY = r"(?:responses?|repl(?:y|ies)|answers?|messages?|turns?)"
_PLURAL = r"(?:responses|replies|answers|messages)"
_GAP = r"(?:[\w'’-]+ ){0,4}"
_GAP2 = r"(?:[\w'’-]+ ){0,2}"
_TEXTS = (
    r"(?:poem|story|stories|essay|e-?mail|letter|blog|article|post|song|lyrics|rap|haiku|limerick|joke|riddle|resume|résumé|cv|"
    r"advertisement|ad|pitch|tweet|caption|headline|slogan|tagline|tag line|template|outline|plan|itinerary|summary|report|speech|"
    r"script|dialogue|scene|paragraph|table|list|recipe|review|proposal|description|biography|bio|rubric|quiz|function|program|code|"
    r"class|query|test|document|doc|copy|note|plot|name|names|sentence|version|chapter|stanza|verse|critique|translation|analysis|"
    r"overview|comparison|guide|lesson|schedule|agenda|press release|cover letter|product|presentation|newsletter|question|questions)s?"
)
_MAKE = (
    r"(?:write|compose|create|draft|generate|make|produce|craft|give|list|summari[sz]e|translate|rewrite|rephrase|paraphrase|edit|"
    r"explain|describe|compare|design|plan|invent|brainstorm|outline|develop|prepare|suggest|recommend|provide|tell|show|find|"
    r"convert|expand|shorten|improve|correct|proofread|fix|analy[sz]e|classify|extract|discuss|elaborate|name|compute|calculate|"
    r"solve|implement|build|add|remove|insert|replace|continue|finish|complete|hallucinate|imagine|critique|pick|choose|help|come up with)"
)

_VERBS = r"please|kindly|pls|just|always|never|do not|don't|dont|avoid|refrain|make sure|be sure|ensure|remember|keep|stick|use|answer|reply|respond|write|speak|talk|call|address|act|pretend|behave|be|begin|start|end|finish|close|open|stop|no|only|limit|include|add|mention|give|provide|explain|treat|assume|stay|format|phrase|say|sign|put|let|try|feel free|skip|leave|drop|quit|cut|follow|adopt|maintain|convert|translate|double-check|cite|quote|ask|tell|show|list|go|switch|spell|capitalize|ignore|forget|pitch|check|tailor|gear|adapt|adjust|confirm|restate|warn|remind|number|label|mark|highlight|define|back up|point out|sum up|round"

_UPPER = re.compile(r"(?<!\\)[A-ZÄÖÜ]")
SIGNALS: dict[str, re.Pattern[str]] = {
    # searched in lower case: ignoring case costs more than twice the time
    name: re.compile(pattern, re.I if _UPPER.search(pattern) else 0)
    for name, pattern in {
        # how long it binds
        "whole_chat": (
            rf"\b(?:for|throughout|during|over|across|within|in|until the end of|as long as we|the course of)\b {_GAP}"
            rf"(?:rest|remainder|duration|entirety|entire|whole|course|length|full|complete|all|every|each|any|future|upcoming|coming|"
            rf"following|subsequent|remaining|next) (?:of |part of )?(?:the |this |our |these |my |your |all )?{_GAP2}{_CONV}\b"
            rf"|\b(?:do|have|hold|keep|conduct|continue) (?:this|the|our)(?: whole| entire| full)? {_CONV} (?:in|as|like|without|using|entirely|strictly)\b"
            rf"|\b(?:throughout|for) (?:this|our|the|these|all (?:of )?our|my) {_GAP2}{_CONV}\b"
            rf"|\bas long as (?:we|i|you) (?:\w+ )?(?:chat|talk|speak|are)|\bwhile we(?:'re| are)? (?:chat|talk|speak|work|discuss)\w*"
            rf"|\bfor the (?:rest|remainder) of (?:this|the day|our|today|the evening|the week)|\bthis whole time\b"
        ),
        "this_chat": rf"\bthroughout\b(?=\s*(?:[,.!?;]|$))|\b(?:in|during|within|for) (?:this|our|the current|the present) {_GAP2}{_CONV}\b",
        "from_now_on": (
            r"\bfrom (?:now|here|this (?:point|moment|message|time)|today|here on out|now on out)(?: on(?:wards?)?| forward|, on| out)?\b"
            r"|\b(?:going|moving) forward\b|\bhenceforth\b|\bhenceforward\b|\bhereafter\b|\bfrom here on\b|\bas of (?:now|today)\b"
            r"|\b(?:the|my|your) (?:next|following|coming) (?:\d+|two|three|four|five|six|seven|eight|nine|ten|few|couple of)(?: \w+)? (?:answers|replies|responses|messages|turns|questions|exchanges)\b|\bstarting (?:now|today|immediately|with your next|from (?:now|today))\b|\bfor future (?:reference|\w+)"
            r"|\bin (?:the )?future\b|\bfor good\b|\bpermanently\b|\bby default\b|\bas a (?:standing |general )?rule\b|\bin general\b"
            r"|\bfrom your next\b|\buntil (?:i|we|further|told|you hear|the end|tomorrow|tonight|next)\b|\bunless (?:i|told|otherwise)\b"
            r"|\bfor (?:the|my|your) next (?:\w+ )?(?:\w+ )?(?:answers|replies|responses|messages|turns|questions|exchanges)\b"
        ),
        "every_reply": (
            rf"\b(?:each|every|any|all)(?: single| one)?(?: of)?(?: the| your| my| these| our| those)?{'(?: (?:future|subsequent|following|further|next|single|other|last|coming|new))*'}"
            rf" (?:{_REPLY}|question i|questions? (?:that )?i|sentence you (?:write|say)|thing you (?:write|say)|time you (?:reply|answer|respond))\b"
            r"|\b(?:all|each|every one)(?: of)? your (?:suggestions?|recommendations?|explanations?)\b|\b(?:all|every|any)(?: \w+)? (?:suggestions?|recommendations?|explanations?) (?:that )?(?:you|i)\b"
            r"|\b(?:answer|reply to|respond to) (?:every|any|all)(?: single)?(?: of)?(?: my)? questions?\b(?! (?:below|above|in|from|on|at|of)\b)(?!\s*:)"
            r"|\b(?:per|pro) (?:answer|reply|response|message|antwort|nachricht)\b"
            rf"|\ball my (?:questions|messages|requests|prompts)\b|\beverything you (?:write|say|send|tell|explain|give|answer|do|show)\b|\bwhatever you (?:tell|say|write|send|explain|suggest)\b|\b(?:after|before|in|with|under) (?:every|each) (?:explanation|suggestion|recommendation|example|summary)\b|\bwhatever i (?:ask|say|write|type|send|post|paste|enter|tell you|give you)\b"
            rf"|\bno matter (?:what|how|which|whether)\b"
        ),
        "your_replies": rf"\byour (?:\w+ ){{0,2}}{_PLURAL}\b|\bmy (?:\w+ )?(?:questions|messages|requests|prompts|queries)\b|\b(?:reply|respond|answer|answers|replies|responses) (?:to )?me\b",
        "whenever": (
            r"\b(?:whenever|wherever|every ?time|each time|any ?time|each instance|in case|when any)\b"
            r"|\b(?:if|when|once) (?:i|we|you) (?:ever |later |should |do )?(?:ask|say|type|write|send|mention|give|enter|use|paste|start|share|request|"
            r"tell|need|want|recommend|suggest|answer|reply|respond|don't know|do not know|are unsure|are not sure|aren't sure|quote|cite|refer|make|explain|talk|speak|post)\b"
            r"|\b(?:every|each|all|any)(?: single)?(?: \w+)? \w+ (?:that |which )?you (?:suggest|recommend|propose|write|explain|mention|name|give|show|send|make|pick|provide|cite|quote|come up with|share|tell|use|plan|offer)\b"
            r"|\bwhen(?:ever)? (?:answering|replying|responding|suggesting|recommending|talking|speaking|writing|explaining|giving|giving me|you're|quoting|citing|addressing|coding)\b"
        ),
        # the user's own doing, at any time, and what to do then: "whenever I send a word just translate it"
        "user_event": (
            r"\b(?:whenever|wherever|every ?time|each time|any ?time) (?:i|you|we|there|my|a|an|the)\b[^.!?]{2,80}?(?<!\bi)(?<!\bwe)(?<!\bit)(?<!\bthey)(?<!\byou)(?<!\bto)[ ,]+(?:then |please |just |always |only |simply |first |you (?:should|must|will|can) )*"
            r"(?:give|answer|reply|respond|tell|translate|correct|explain|add|include|use|write|show|say|ask|begin|start|end|list|make|keep|mention|remind|do|don't|do not|never|convert|check|put|state|name|number|assume|offer|leave|treat|repeat|point)\b"
            r"|^should i (?:ever )?(?:ask|say|type|write|send|paste|forget|mention|make|get|use)\b[^.!?]{2,60}, "
            r"|^(?:\w+[,.!]? )?(?:when|if|once) (?:i|you) (?:ever |do |should )?(?:send|ask|say|type|write|paste|share|post|give|make|get|mention|misspell|use|forget|suggest|recommend|are (?:un|not )sure)\b[^.!?]{0,60}?(?: at any (?:point|time)| ever|, (?:then |please |just |always |only |simply |don't |never |you should ))"
        ),
        "always_never": (
            r"(?:^|[,;:.] ?|\b(?:please|and|but|also|then|to|must|should|will|can|could|would|do|shall|so|just|you|that|you'll|need you to) )"
            r"(?:always|never|at all times|under no circumstances|invariably|constantly|consistently|without exception)\b"
            r"|\b(?:don't|do not|dont) (?:you )?ever\b|\bat all times\b|\bunder no circumstances\b|\bwithout exception\b|\bno exceptions\b|\b(?:always|never)[.!]*$|\bever again\b|\banymore\b|\bany more\b|\bany longer\b"
        ),
        "first_person_always": r"\bi(?:'ve| have| had| would| will|'ll|'m| am)? (?:always|never)\b|\b(?:he|she|they|it|people|we|who|which|that|there) (?:\w+ )?(?:always|never)\b",
        # whom it addresses
        "directive": (
            r"^(?:(?:also|and|but|so|ok(?:ay)?|hi|hello|hey|now|then|oh|btw|yes|no|well|thanks|great|next|alright|right|first|finally|additionally|plus)[,!.]* )*"
            r"(?:" + _VERBS + r")\b"
            r"|\b(?:under no circumstances|at no point|at all times) (?:" + _VERBS + r")\b"
            r"|^(?:\w+[,.!]? )?(?:only |just |exactly )?(?:one|two|three|four|five|six|ten|\d+) (?:short |long )?(?:sentences?|words?|lines?|paragraphs?|bullet points?|bullets)\b"
            r"|^(?:for|in|throughout|during) [^,.!?]{3,60}?(?<!\bi)(?<!\bwe)(?<!\bthey)(?<!\bto)(?<!\byou) (?:"
            + _VERBS
            + r")\b"
            r"|^(?:[^,.!?]{3,80}[,:;] ?(?:so |and |then |but )?|(?:from (?:now|here) on|going forward|henceforth) )(?:"
            + _VERBS
            + r")\b"
            r"|\b(?:please|kindly)\b|\byou (?:must|should|may only|can only|need to|have to|will|are to|ought to|shall|are not|shouldn't|mustn't|can't|cannot|won't|may not|must not|should not|will not)\b"
            r"|\bi(?:'d| would| want| need|'ll need| expect| ask| wish| prefer)(?: \w+)? (?:like|love|prefer|want|appreciate|you)\b(?: it)?(?: if)?(?: you)?"
            r"|\bmake (?:it|that|those|them|your|all|every|each)\b|\bis (?:enough|plenty|sufficient)\b|\bat most\b|\bmax(?:imum)?\b|\byou (?:always |never |only |just |then )*(?:answer|reply|respond|translate|write|speak|talk|act|give|tell|correct|explain|ask|say|list|summari[sz]e|rate|convert|play)\b|\b(?:can|could|would|will) you (?:please |kindly |always |also |only |just |not )*\w+|\bmake sure\b|\bi want (?:you|your|all|every|only|no)\b|\byour \w+ (?:should|must|need)\b"
            r"|\b(?:should|must|need to|have to|are to|may) (?:all |always |never |not |only )?(?:be|have|start|begin|end|contain|include|use|stay|fit|come|read|follow|remain|mention|sound)\b"
        ),
        "question": r"(?<!\bok)(?<!\bokay)(?<!\balright)(?<!, right)(?<!\bdeal)(?<!\bremember)(?<!\bgot it)(?<!\bunderstood)(?<!, ja)(?<!, gut)\?\s*[\"')\]]*$|\?(?=\d|[A-Z])",
        "why_question": r"^(?:\w+[,!]? )?(?:why|how|what|which|who|when|where|is|are|do|does|did|should|am|was|were|has|have|isn't|aren't|don't|doesn't|warum|wieso|wie|was|welche\w*|wer|wann|wo|ist|sind|soll|sollte)\b.*\?",
        "reported": r"\b(?!i\b|you\b|we\b)\w+ (?:said|says|told|tells|wrote|writes|asked|asks|states|stated|insists|insisted|demands|demanded|claims|claimed|thinks)\b|\b(?:decided|agreed|announced|heard|learned|learnt|read|promised) that\b(?!.*\byou)|\b(?:sagte|sagt|schrieb|schreibt|meinte|verlangt)\b(?! ich)",
        "can_you": r"(?:^|[,;:.!] ?|\b(?:and|so|please|then|ok|okay|but|also|hi|hey|hello|now|well|thing|favou?r|request) )(?:can|could|would|will) you\b|(?:^|[,;:.!] ?)(?:can|could|shall|may) we\b|\bwould you mind\b|\b(?:kannst|könntest|würdest) du\b|\b(?:können|könnten|würden) sie\b",
        # style of replies
        "answer_style": (
            r"\b(?:answer|reply|respond|talk|speak|write|explain things|communicate|converse|text|chat)(?: (?:to|with) (?:me|all|every\w*|my))?(?: back)?(?: me| my questions| questions| everything)? "
            r"(?:only |always |just |exclusively |strictly |entirely |solely |more |mostly |briefly|concisely|formally|casually|politely|honestly)?"
            r"(?:in|like|as|with|using|without|briefly|concisely|formally|casually|politely|plainly|simply|slowly|at)\b"
            r"|\b(?:keep|make) (?:your|all|the|every) (?:\w+ )?(?:answers|replies|responses|explanations|messages|suggestions)\b|\bsign off\b|\bkeep (?:things|everything)\b|\btreat me (?:as|like)\b"
            r"|\b(?:talk|speak|write|explain \w+|reply|respond|answer) (?:to|for|with) me\b"
        ),
        # what the user tells of life: plans, events and states, which bind nothing
        "narrative": (
            r"^(?:\w+[,!.]? ){0,2}(?:i|we)(?:'m|'ve|'ll|'d|'re| am| have| had| will| was| were| are| might)? (?:also |just |now |currently |still |recently |already |finally |often |sometimes |actually |really |mostly |mainly )*"
            r"(?:plan|planning|consider|considering|contemplating|thinking|trying|looking|working|struggling|struggle|focusing|going|bought|got|found|saw|moved|started|finished|heard|read|went|used|made|took|tried|decided|met|lost|broke|wish|hope|guess|wonder|feel|find myself|tend to|spend|live|study|rent|grew|born|have trouble|been|haven't|didn't|wasn't|couldn't)\b"
            r"|^(?:yes|yeah|yep|no|nope|not really|sure|good (?:idea|point)|thanks|thank you|i see|ok(?:ay)?, (?:i|so))\b[,.! ]"
        ),
        "third_party": r"^(?:and |but |also |so )?(?:my|our|his|her|their|the|this|that|these|those|it|he|she|they|there|some|many|most|a|an)\b(?! (?:answer|answers|reply|replies|response|rule|rules|favou?rite|preference|name|pronouns|religion|faith|doctor|diet|allerg\w+|condition|next|only|way|language|tone)\b)(?![^.!?]*\b(?:you|your|i)\b)",
        # how to address or speak of the user: lasting by nature
        "address": (
            r"\b(?:call|address) me (?!back\b|later\b|tomorrow\b|tonight\b|today\b|when\b|if\b|at \d|on \w+day\b|a (?:taxi|cab|lawyer|doctor)\b|crazy\b|old-fashioned\b)(?:as |by |just |only |simply )?\S|\brefer to me (?:as|by)\b|\bmy pronouns are\b"
            r"|\buse (?:\w+/\w+|the pronouns?|the name)\b[^.!?]*\b(?:me|pronouns?)\b|\b(?:nenn\w*|nennen sie) mich\b|\b(?:duze|sieze|duzen sie|siezen sie) mich\b|\bsprich mich (?:mit|als)\b|\bappelle[- ]moi\b|\bappelez[- ]moi\b|\btutoie[- ]moi\b|\bvouvoie[- ]moi\b|\bllámame\b|\btutéame\b|\bchiamami\b|\b(?:dammi|mi dia) del (?:lei|tu)\b|\bme chame\b|\bnoem me\b"
        ),
        "one_reply": (
            r"\b(?:your|the|this|that|my|entire|whole|full|next|final|single|a|an|one) (?:\w+ ){0,2}(?:response|reply|answer|output|result|message)\b"
            r"|\bthis time\b|\bjust this once\b|\bonce more\b|\bfor (?:this|that) (?:one|answer|reply|response|question|time|message)\b"
        ),
        "one_text": (
            r"\b(?:your|the|this|that|my|entire|whole|full|next|final|single|a|an|one) (?:\w+ ){0,2}(?:story|poem|essay|email|e-mail|letter|text|article|summary|paragraph|song|"
            r"post|list|table|paper|sentence|title|translation|code|function|document|resume|version|draft|ad|pitch|description|plan|itinerary|speech|information|explanation|findings|points|last \w+|previous \w+|dialogue|dialog|rap|lyrics|report)\b"
            r"|\b(?:make|keep|turn|rewrite|shorten|expand|change|translate|convert|put|summari[sz]e|rephrase|redo|repeat|simplify|explain|do|try|say) (?:it|this|that|them|these|those|the above)\b(?! in mind)|\bfor (?:this|that) (?:task|e-?mail|text)\b"
        ),
        "task": rf"^(?:(?:please|kindly|now|then|also|and|so|ok(?:ay)?|hi|hello|hey|next|great|thanks|finally|first|could you|can you|would you|will you|i want you to|i need you to|i'd like you to|help me|let's|only|just)[,!.]* )*(?:please )?(?:only |just )?(?:{_MAKE}|need|sum up|break down|break it|look up|walk me through|get me)\b(?!(?<=\bwrite) (?:in|like|as|with|without|to me)\b)(?! (?:your|all your|every|each|all|my) (?:\w+ ){{0,2}}(?:{_REPLY}|questions|examples|explanations|suggestions|sentences))|^(?:i )?(?:just )?(?:need|want) (?:to (?:know|fix|learn|find|get|understand|see)|some|help|advice|tips|quick|a (?:quick|short|list|few))\b|\bplease (?:compare|calculate|compute|solve|classify|extract|find|translate|summari[sz]e|rewrite|write|draft|create|generate|design|brainstorm|describe|discuss)\b(?! (?:to me|with me|in|like|as)\b)|^(?:\w+[,!]? )?(?:ask|quiz|test) me (?:about|on|something|some|an?|one|two|three|five|ten|\d+|for)\b",
        "makes_text": rf"\b{_MAKE}\b (?:me |us |up |out )?(?:a|an|the|this|that|some|two|three|four|five|ten|\d+|my|another|one|his|her|our|their) (?:[\w'’-]+ ){{0,6}}{_TEXTS}\b",
        # roles
        "role": (
            r"\b(?:act|behave|speak|talk|respond|reply|answer|write)(?: to me)? (?:only |always |just )?(?:as if|as though|like|as)(?: you(?:'re| are| were))? (?:a |an |the |my |if |though |you |[A-Z])"
            r"|\b(?:you are|you're|you will be|you'll be|you shall be|you become|(?:^|want you to |like you to |need you to |please |, )be) (?:now |going to be |to be |henceforth )?(?:(?:a |an |the )(?!(?:great |good |big |huge |real |true |total |absolute )?(?:help|star|lifesaver|legend|treasure|gem|angel|dear)\b)(?!\w+ing (?:to|for|with|of|at|in|on|a|an|the|and)\b)|(?:my |our ))|\b(?:you are|you're) (?:now |to play )"
            r"|\b(?:pretend|imagine|assume|suppose) (?:to be|that you|you|you're|you are)\b|\brole-?play\b|\b(?:play|take on|assume|adopt) (?:the )?(?:role|part|persona|character|voice|identity)\b|\bstay in character\b|\bpersona of\b|\bi want you to (?:act|be|play|pretend)\b|\bmaintain(?:ing)? (?:the|her|his|their|this|your) (?:persona|character|role)\b|\b(?:du bist|bist du)(?: \w+){0,4} (?:ein|eine|mein|meine|der|die)\b|\b(?:rede|sprich|schreib|antworte|verhalte dich|(?:redest|sprichst|schreibst|antwortest) du)(?: \w+){0,3} wie (?:ein|eine|der|die)\b|\btu so,? als|\bschlüpf\w* in die rolle|\bspiel\w* (?:\w+ ){0,2}(?:die rolle|einen?|den)\b"
        ),
        "role_once": r"\b(?:pretend|imagine|act as|act like|play|be|as if)\b[^.!?]{3,80}(?:, | and |, and |, then )(?:give|tell|write|explain|describe|show|list|summari[sz]e|sum up|make|create|compare|recommend|suggest|draft)\b|\b(?:imagine|pretend|suppose|assume|think|like)\b[^.!?]*\b(?:explaining|presenting|giving|providing|writing|describing|speaking to|talking to|teaching|when (?:responding|answering))\b",
        # preferences in the first person
        "dislike": (
            r"\bi(?:'m| am)? ?(?:\w+ly |just |also |really |truly |do |have |personally |much |still |always |quite |rather |even |tend to |try to |always try to )*(?:prefer|dislike|hate|detest|despise|loathe|abhor|avoid|refuse|can't stand|cannot stand|can ?not stand|can't bear|cannot bear|can't tolerate|cannot tolerate|"
            r"can't have|cannot have|can't eat|cannot eat|can't drink|cannot drink|boycott|shun|abstain from|swear off|dread|can't digest|cannot digest|can't handle|cannot handle|steer clear|stay away|shy away|don't (?:really |particularly |usually |normally |ever )?(?:like|enjoy|eat|drink|fly|drive|watch|wear|care for|smoke|travel|listen|play|buy|trust|consume|own (?![^.!?]*\byet\b)|"
            r"do well|feel comfortable|go|believe in|cook|support|work|swim|use|read|take|touch|tolerate|want any|want to \w+ any|have (?:a|any) (?:tv|car|oven|kitchen|license|interest))|do not (?:really |particularly |usually )?(?:like|enjoy|eat|drink|fly|drive|watch|wear|own|care for|smoke|"
            r"travel|listen|play|buy|trust|consume|do well|feel comfortable|go|believe in|cook|support|work|swim|use|read|take|touch|tolerate|have any interest))\b"
            r"|\bi (?:only|exclusively|strictly|solely|never|rarely|always|usually|generally|typically) (?:ever )?(?:eat|drink|watch|wear|buy|use|read|listen|play|travel|stay|fly|drive|go|work|shop|cook|choose|date|take|want|like|enjoy|follow|purchase|consume|order|ride|support|learn|study|exercise|pick|book|attend|visit)\b"
            r"|\bi(?:'m| am) (?:\w+ly |very |quite |a |an |also |not |just |really |now |strict |big |huge |deathly |lifelong |life-long |longtime |committed |devoted |practising |practicing |proud )*(?:allergic|intolerant|(?:vegan|vegetarian|pescatarian)(?! (?:restaurant|caf[eé]|chef|cook|food|recipe|dish|meal|shop|place|option|blogger|company|brand)\w*)|lactose|gluten|diabetic|celiac|coeliac|teetotal\w*|averse|afraid of|scared of|terrified of|claustrophobic|sensitive to|uncomfortable|"
            r"against|opposed|strongly|fan of|fond of|passionate about|color-?blind|colour-?blind|picky|committed to|kosher|muslim|keto|hooked on|partial to|night owl|morning person|early bird|pacifist|minimalist|introvert)\b"
            r"|\bi (?:have|'ve got|suffer from|follow|keep|live with|possess|hold|harbor) (?:\w+ ){0,4}(?:aversion|allergy|allergies|phobia|fear|dislike|distaste|preference|intolerance|disdain|hatred|passion|love|diet|interest|sensitivity|condition|commitment|asthma|kosher|halal|arachnophobia|vertigo|objection)\b"
            r"|\bi(?:'d| would) (?:much |rather|always |really )*(?:rather|prefer)\b(?! (?:something|some|one|that|this|it|an?|the|to (?:know|hear|see|learn|read|get|have|start|focus))\b)|\bi (?:work|learn|focus|function|think|sleep|concentrate|perform|study) best\b|\bi (?:need|require) (?:\w+ )+(?:due to|because of|for medical|for my (?:health|back|knees?|eyes|condition|allerg\w+|asthma|disability|religion|faith|beliefs))\b|\b(?:because of|due to|with) my \w+(?: \w+)?,? i (?:need|require|can't|cannot|must|have to)\b|\bi find (?:\w+ ){1,6}(?:boring|overwhelming|too|unappealing|distracting|stressful|annoying|tedious|demotivating|uncomfortable|off-putting|unpleasant)\b"
            r"|^(?!(?:this|that|it|he|she|they|you|these|those)\b)[\w'-]+(?: [\w'-]+){0,3} (?:scare|frighten|terrify|terrifie|disgust|gross|stress)s? me(?: out)?\b|\bmakes? me (?:uncomfortable|sick|anxious|nauseous|nervous|ill|dizzy)\b|\bi(?:'m| am) not (?:a |an |really |very |at all |much )*(?:fan|interested|into|keen|fond|comfortable|drawn|big)\b|\bnot my (?:thing|cup of tea|style)\b|\bmy (?:favou?rite|preferred|go-to) \w+ (?:\w+ )?(?:is|are)\b"
        ),
        "like": r"\bi(?:'ve| have)? (?:come to |learned to |learnt to |grown to |started to |begun to |now )?(?:\w+ly |really |also |just |do )*(?:love|like|enjoy|adore|favou?r|value|appreciate)\b",
        "about_reply": (
            r"\bi (?:[\w']+ ){0,3}(?:like|love|hate|dislike|prefer|understand|want|agree|see|enjoy|mind|need|get|remember|think|believe|know)(?: with| about| of)? "
            r"(?:this|that|it|your|these|those|them|what you|how you|the (?:\w+ )?(?:first|second|third|last|previous|new|other|answer|reply|response|tone|style|ending|title|part|version|one|way you|way it|idea|paragraph|sentence|opening|word|result|story|poem|image|picture)s?)\b"
            r"|\bi (?:don't|do not) (?:understand|know|think|see|get|remember|agree|have time|want to know|believe|mind)\b"
            r"|\bi(?:'d| would) (?:really |also )?(?:like|love|prefer) to (?:know|hear|learn|see|read|understand|get)\b"
        ),
        # changing and withdrawing
        "change": r"\binstead\b|\brather than\b|\bchange (?:that|it|the|this|your)\b|\bswitch (?:to|back|from|over)\b|\bmake (?:that|it)\b|\bback to\b|\bno longer\b|\bnot .{2,40} but\b|\breplace\b|\bon second thoughts?\b|\bstattdessen\b|\bdoch lieber\b|\bwechsl\w+\b|\bnicht mehr\b",
        # German
        "de_standing": (
            r"\b(?:ab|von) (?:jetzt|sofort|nun|heute)(?: an)?\b|\bin zukunft\b|\bkünftig\b|\bzukünftig\b|\bvon nun an\b|\bfortan\b|\bimmer\b|\bstets\b|\bniemals\b|\bnie(?: wieder| mehr)?\b|\bgrundsätzlich\b|\bbis ich\b|\bdauerhaft\b|\bweiterhin\b|\bdurchgehend\b|\bdurchweg\b|\bdie ganze zeit\b|\bgenerell\b|\bprinzipiell\b|\bin allem, was du\b|\bfür alle \w+|\bbei (?:allen|jeder|jedem|jeglichen) \w+"
            r"|\b(?:für|während|in) (?:den rest|die gesamte|die ganze|das ganze|das gesamte|unser\w*|diese\w*|dies\w*|der gesamten|der ganzen|alle\w*)(?: \w+)? ?(?:des |der |dieses |unseres |unserer )?(?:gesprächs?|chats?|unterhaltung(?:en)?|konversation|dialogs?|sitzung|gesprächen?|chats)\b"
            r"|\b(?:jede|alle|sämtliche|jeder|jedes|allen|deine|deinen|ihre) (?:deiner |deine |meine |weiteren |künftigen |nächsten )*(?:antwort(?:en)?|fragen|nachrichten|erklärungen|vorschläge\w*)\b|\b(?:jedes mal|immer wenn|wann immer|sobald ich|wenn ich)\b|\bfür die nächsten\b"
        ),
        "de_directive": (
            r"^(?:(?:bitte|und|also|ok(?:ay)?|hallo|hi|ja|nein|so|dann|übrigens|außerdem|noch etwas|ach ja|danke)[,!.:]* )*(?:bitte |ab jetzt |ab sofort |von jetzt an |künftig |in zukunft )*(?:antworte|antworten sie|schreib\w*|sprich|sprechen sie|rede|benutze?|benutzen|verwende|verwenden|vermeide|nenn\w*|halte?|"
            r"beginne?|beende?|fang|sei|seien sie|gib|geben sie|erwähne|erkläre?|nutze?|füge|lass|duze|sieze|spiel\w*|tu so|stell dir|verhalte?|rede|denk|formuliere?|fasse|mach|zeig|verzichte)\b"
            r"|, (?:dann |bitte )?(?:antworte|nenne|schreib|gib|benutze|verwende|sag|erkläre|zeig|beginne|frag|mach|liste)\w*\b"
            r"|\bbitte\b|\bdu (?:sollst|solltest|musst|darfst|bist|wirst)\b|\b(?:dürfen|sollen|müssen) es\b|\b(?:sollst|solltest|musst|darfst|bist|wirst) du\b|\bsie (?:sollen|sollten|müssen|dürfen|sind)\b|^kein\w* \w+|^(?:ab jetzt|ab sofort|ab heute|künftig|in zukunft|von nun an)(?: \w+){0,2} (?:lieber|nur|kein\w*|in|auf|mit|ohne)\b|\b(?:reicht|genügt)\b|\bich möchte, dass\b|\bich will, dass\b"
        ),
        "de_style": r"\b(?:antworte|antworten|antwort|schreib\w*|sprich|rede|sprechen)(?: sie)?(?: mir)?(?: bitte)?(?: immer| nur| stets| künftig| ausschließlich)?(?: auf| in| wie| als| mit| ohne| kurz| knapp)\b|\bnenn\w* mich\b|\b(?:duze|sieze) mich\b|\bhalte? (?:deine|alle|die) antworten\b|\bsprich mich\b",
        "de_preference": (
            r"\b(?:mag|esse|trinke|fliege|fahre|rauche|vertrage|schaue|trage|kaufe|reise|ertrage) ich (?:\w+ ){0,3}(?:kein\w*|nicht|nie\w*|nur|lieber|am liebsten|grundsätzlich|ausschließlich)\b|"
            r"\bich (?:\w+ ){0,2}(?:mag|esse|trinke|hasse|vermeide|meide|bevorzuge|verabscheue|fliege|fahre|rauche|vertrage|schaue|trage|kaufe|höre|lese|reise|ertrage) (?:\w+ ){0,4}(?:kein\w*|nicht|nie\w*|nur|lieber|am liebsten|grundsätzlich|ausschließlich)\b|\bich (?:bevorzuge|hasse|vermeide|meide|verabscheue)\b"
            r"|\bich bin (?:\w+ ){0,3}(?:allergisch|vegetarier\w*|veganer\w*|vegan|laktoseintolerant|glutenunverträglich|kein fan|nichtraucher\w*|diabetiker\w*|gegen|höhenängstlich)\b|\bich habe (?:\w+ ){0,3}(?:angst|höhenangst|flugangst|\w*allergie|\w*unverträglichkeit|abneigung)\b|\bkann ich nicht ausstehen\b|\bich kann (?:\w+ ){0,4}(?:nicht|kein\w*) (?:\w+ ){0,3}(?:ausstehen|leiden|essen|trinken|vertragen|fliegen|tragen)\b|\bich (?:esse|trinke|mag|fliege|reise|trage) (?:kein|nicht|nur|lieber|nie|am liebsten)"
        ),
        "de_task": r"^(?:(?:bitte|und|dann|jetzt|nun|kannst du|könntest du|können sie)[,!.]* )*(?:schreib\w*|erstell\w*|verfass\w*|mach\w*|gib|nenn\w*|list\w*|fass\w*|übersetz\w*|erklär\w*|formulier\w*|such\w*|finde|zeig\w*|plan\w*|rechne\w*|berechne\w*|vergleich\w*) (?:mir |uns |bitte |mal )*(?:ein\w*|den|das|die|dies\w*|eine\w*|\d+|zwei|drei|fünf|zehn|mein\w*|kurz|alles)\b",
        # French, Spanish, Italian, Portuguese and Dutch: the commonest
        "other_standing": (
            r"\b(?:à partir de maintenant|à l'avenir|désormais|dorénavant|dans toutes (?:tes|vos) réponses|dans cette (?:conversation|discussion)|toujours|jamais|(?:à|dans) chaque réponse|chaque fois que|pour (?:le reste|toute la durée) de (?:la|cette|notre) conversation)\b"
            r"|\b(?:a partir de ahora|de ahora en adelante|desde ahora|en adelante|siempre|nunca|en (?:todas|cada una de) tus respuestas|en cada respuesta|cada vez que|durante (?:toda )?(?:la|esta|nuestra) conversación|(?:por|durante) el resto de (?:la|esta) conversación)\b"
            r"|\b(?:d'ora in (?:poi|avanti)|da (?:ora|adesso) in poi|sempre|non \w+ (?:\w+ )?mai|in ogni risposta|in tutte le (?:tue )?risposte|ogni volta che|per il resto della conversazione)\b"
            r"|\b(?:a partir de agora|de agora em diante|daqui em diante|nunca|em todas as (?:suas |tuas )?respostas|em cada resposta|cada vez que|sempre que)\b"
            r"|\b(?:vanaf nu|voortaan|altijd|nooit|in (?:al|elk van) je antwoorden|in elk antwoord|telkens als|voor de rest van dit gesprek)\b"
        ),
        "other_directive": (
            r"\b(?:réponds|répondez|écris|écrivez|parle|parlez|utilise|n'utilise|utilisez|évite|évitez|veuillez|s'il te plaît|s'il vous plaît|ne \w+ (?:pas|jamais|plus)|termine|commence|donne|tu (?:dois|es)|sois|\w+-moi)\b"
            r"|\b(?:\w*[áéí]\w*me|responde|contesta|escribe|habla|háblame|usa (?:siempre|solo|sólo|un|una|el|la|los|las|frases|palabras)|utiliza|no uses|evita|termina|empieza|por favor|debes|eres|quiero que)\b"
            r"|\b(?:rispondi|rispondimi|scrivi|parla|parlami|usa (?:sempre|solo|il|la|le|un|una|frasi|parole)|non usare|evita|termina|inizia|per favore|devi|voglio che|dammi)\b"
            r"|\b(?:responda|responde|escreva|escreve|fale|fala|use (?:sempre|apenas|só|um|uma|frases|palavras)|não use|evite|termine|comece|por favor|você deve|quero que)\b"
            r"|\b(?:antwoord|schrijf|spreek|praat|gebruik|vermijd|eindig|alsjeblieft|alstublieft|je moet|je bent|wees)\b"
        ),
        "other_preference": (
            r"\bje (?:suis (?:\w+ )?(?:allergique|végétarien\w*|végan\w*|vegan|diabétique|intolérant\w*)|ne (?:mange|bois|supporte|prends|porte|regarde) (?:pas|jamais|plus)|n'aime pas|déteste|préfère|évite)\b"
            r"|\b(?:soy (?:alérgic\w|vegetarian\w|vegan\w|diabétic\w|intolerante|celíac\w)|no (?:como|bebo|tomo|soporto|uso|me gustan?)|odio|detesto|prefiero|evito)\b"
            r"|\b(?:sono (?:allergic\w|vegetarian\w|vegan\w|intollerante|celiac\w|diabetic\w)|non (?:mangio|bevo|sopporto|mi piac\w+|uso)|odio|detesto|preferisco|evito)\b"
            r"|\b(?:sou (?:alérgic\w|vegetarian\w|vegan\w|intolerante|celíac\w|diabétic\w)|não (?:como|bebo|suporto|gosto|uso)|odeio|detesto|prefiro|evito)\b"
            r"|\bik (?:ben (?:\w+ )?(?:allergisch|vegetari\w+|veganist\w*|vegan)|eet (?:geen|nooit)|drink (?:geen|nooit)|haat|vermijd|hou niet van|kan niet tegen)\b"
        ),
    }.items()
}


_INFORMAL = {
    "plz": "please", "pls": "please", "u": "you", "ur": "your", "youre": "you're", "im": "i'm", "ive": "i've", "dont": "don't", "cant": "can't",
    "wont": "won't", "doesnt": "doesn't", "shouldnt": "shouldn't", "mustnt": "mustn't", "wanna": "want to", "gonna": "going to", "gimme": "give me", "lemme": "let me", "alwys": "always", "allways": "always",
}  # fmt: skip
_HOUSEHOLD = re.compile(r"\bwe('re)?\b", re.I)
"""What a household keeps to binds as much as what one person does."""
_INFORMAL_WORD = re.compile(r"\b(?:" + "|".join(_INFORMAL) + r")\b(?!')", re.I)


def signals(voice: str) -> frozenset[str]:
    """Names of the signals that a sentence shows; pass :attr:`Sentence.voice`, not the raw text."""
    text = _INFORMAL_WORD.sub(lambda m: _INFORMAL[m.group()], voice.lower().replace("’", "'"))
    found = {name for name, pattern in SIGNALS.items() if pattern.search(text)}
    if SIGNALS["dislike"].search(_HOUSEHOLD.sub(lambda m: "i'm" if m.group(1) else "i", text)):
        found.add("dislike")
    return frozenset(found)
