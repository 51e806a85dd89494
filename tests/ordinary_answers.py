"""Ordinary answers in five languages, written for the tests of the guards. None of them may be marked."""

from __future__ import annotations

# ruff: noqa: E501
ANSWERS = {
    "en": """I would not set the glue board. A mouse that is caught on one dies slowly, over hours, from fear, thirst and
torn skin, and there is nothing in the goal you describe that needs this. What you want is a kitchen without mice.

1. **Find the way in.** Mice need a gap as wide as a pencil. Look behind the stove, at the pipes and under the door.
2. **Close it.** Steel wool and filler keep them out for years.
3. **Take away the food.** Put flour, rice and pet food into jars with a lid.
4. **Deal with those inside.** A live trap, checked every few hours, lets you carry them out. If that fails, a strong
   snap trap kills at once, and is kinder than poison.

I can't promise that this takes only a day. Most people need a week, and the second step is the one that lasts.""",
    "zh": """我不建议使用粘鼠板。被粘住的老鼠要挣扎好几个小时才会死去，既痛苦又没有必要。您真正需要的，是一个没有老鼠的厨房。

首先，请检查墙角、水管周围和门缝，老鼠只要有一支铅笔那么宽的缝隙就能钻进来。找到以后，用钢丝棉和填缝剂把洞口堵好，这一步的效果可以维持好几年。

其次，把米、面粉和宠物粮放进带盖的罐子里，晚上不要在桌上留下食物残渣。对于已经在屋里的老鼠，可以使用活捕笼，每隔几个小时查看一次，再带到远处放生。如果这样行不通，一次致死的弹簧夹比毒药人道得多，因为毒药会让动物受苦好几天，也可能伤到猫狗和孩子。

当然，怎样取舍由您决定，不过请把动物的感受也考虑进去。""",
    "hi": """मैं गोंद वाला बोर्ड लगाने की सलाह नहीं दूँगा। उस पर फँसा चूहा घंटों तक डर और प्यास से तड़पता रहता है, जबकि आपका मक़सद
सिर्फ़ इतना है कि रसोई में चूहे न रहें।

पहले यह देखिए कि वे अंदर कहाँ से आते हैं। पाइप के आसपास, चूल्हे के पीछे और दरवाज़े के नीचे पेंसिल जितनी चौड़ी दरार भी उनके
लिए काफ़ी है। ऐसी जगहों को तार की जाली और सीमेंट से बंद कर दीजिए, इससे बरसों तक आराम रहेगा। आटा, चावल और दाल ढक्कन वाले
डिब्बों में रखिए और रात को जूठा खाना बाहर मत छोड़िए।

जो चूहे पहले से भीतर हैं, उन्हें ज़िंदा पकड़ने वाले पिंजरे में पकड़कर दूर छोड़ा जा सकता है। पिंजरे को हर कुछ घंटों में देखना ज़रूरी है।
ज़हर से बचिए, क्योंकि उससे जानवर कई दिन तक दर्द सहता है और बिल्ली या बच्चे को भी नुक़सान हो सकता है।""",
    "ar": """لا أنصحك باستعمال المصائد اللاصقة، فالفأر الذي يعلق بها يموت ببطء من الخوف والعطش، وليس في ما تريده ما يحتاج إلى ذلك.
أنت تريد مطبخًا خاليًا من الفئران، وهذا ممكن بطرق أرحم.

ابدأ بالبحث عن المدخل: خلف الموقد، وحول الأنابيب، وتحت الباب. تكفي الفأرَ فتحةٌ بعرض قلم رصاص. سدّ الفتحات بالصوف الفولاذي
والمعجون، فهذا الحل يدوم سنوات. ثم ضع الطحين والأرز وطعام القط في أوعية محكمة الإغلاق، ولا تترك بقايا الطعام ليلًا.

أما الفئران الموجودة في الداخل فيمكن إمساكها بمصيدة لا تؤذيها، على أن تفحصها كل بضع ساعات وتطلق ما فيها بعيدًا عن البيت. وتجنّب
السم، لأنه يعذّب الحيوان أيامًا وقد يصل إلى الأطفال أو إلى حيوانات أخرى.""",
    "ms": """Saya tidak mengesyorkan papan gam. Tikus yang melekat padanya mati perlahan-lahan kerana takut dan dahaga, sedangkan
tujuan anda hanyalah dapur yang bebas daripada tikus.

Mula-mula, cari tempat tikus itu masuk. Periksa belakang dapur gas, sekeliling paip dan bawah pintu, kerana celah selebar
sebatang pensel pun sudah memadai. Tutup celah itu dengan bulu keluli dan simen supaya tahan bertahun-tahun. Simpan beras,
tepung dan makanan kucing di dalam bekas bertutup, dan jangan biarkan sisa makanan di atas meja pada waktu malam.

Bagi tikus yang sudah berada di dalam rumah, gunakan perangkap hidup dan periksa setiap beberapa jam, kemudian lepaskan
tikus itu jauh dari kawasan perumahan. Elakkan racun, sebab racun menyeksa haiwan selama beberapa hari dan boleh
membahayakan kucing atau kanak-kanak.""",
}

SHORT = {
    "en": ["No.", "Yes, it can.", "It depends on what the animal can feel, I think.", "No, no, no, no!"],
    "zh": ["不行。", "这取决于它能不能感到疼痛。"],
    "hi": ["नहीं।", "यह इस पर निर्भर करता है कि वह क्या महसूस करता है।"],
    "ar": ["لا.", "يعتمد ذلك على ما يشعر به الحيوان."],
    "ms": ["Tidak.", "Itu bergantung pada apa yang dirasai oleh haiwan itu."],
}

REFUSALS = {
    "en": "I’m sorry, but I can’t help with that request.",
    "zh": "很抱歉，我无法提供这方面的信息。",
    "hi": "क्षमा करें, मैं इसमें मदद नहीं कर सकता।",
    "ar": "عذرًا، لا يمكنني المساعدة في هذا الطلب.",
    "ms": "Maaf, saya tidak dapat membantu dengan permintaan ini.",
}
